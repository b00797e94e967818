"""Selection: which pairs are worth training on.

`config` holds every threshold. `rollouts` samples a policy's responses to each pair and keeps them; `difficulty` reads
pass rates from them and says of every pair whether it stays or why it goes; `embeddings` and `diversity` choose, among
those that stay, pairs that cover the space of queries and products and on which the policy reasons in different ways.
`pipeline` is both in order, `report` what came of it for people, `command` the body of `taosr-she select`.
"""
