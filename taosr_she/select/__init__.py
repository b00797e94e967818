"""Selection: which pairs are worth training on.

`config` has every threshold. `rollouts` samples and keeps a policy's responses to each pair. `difficulty` computes pass
rates from them, and keeps each pair or gives the reason for dropping it. From the kept pairs, `embeddings` and
`diversity` choose those that cover the space of queries and products and on which the policy reasons in different ways.
`pipeline` runs both in order, `report` shows the result, `command` is the body of `taosr-she select`.
"""
