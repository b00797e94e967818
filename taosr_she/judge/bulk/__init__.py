"""Judging a file of any length in bounded memory, in parts that survive a kill at any moment.

`job` describes what is judged by what, and ties a folder of parts to it. `reading` goes over the input twice: first it
checks every row and writes the quarantine, then it gives out the pairs, from any part on. `log` is a file of JSON lines
that is only ever appended to. `parts` keeps the judgements: parts in work batch by batch, finished ones as files of the
output's format, listed in a journal. `work` hands out the batches that are missing. `run` begins or resumes a job,
judges what is missing, and makes the output; `on_ray` judges on the machines of a Ray cluster instead.

Batches and parts are always cut at the same pairs, so a resumed job gives the same bytes as one that ran through.
"""
