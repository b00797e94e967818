"""How quick the annotation page is, and what it looks like.

`latency` presses keys in real browsers and measures when the next item is painted; `load` sends verdicts from several
writers at once while somebody reads. `store` makes their stores and servers, `command` is `taosr-she bench annotate`.
`pictures` takes the screenshots of the docs.
"""
