"""Benchmarks: our training step against TRL's and plain transformers' on the same work, and the limit of the machine.

`speed` produces the table of the docs: `our_step` and `trl_step` are its sides, `work` defines the work, `judge_speed`
measures judging and growth, `sft_speed` fine-tuning, `shapes` has the shapes of known models. `parts` is the ablation
of the speed-ups, `profile` measures the kinds of operation, `threads` compares thread settings, `processes` one process
with several, `precision` float32 with bfloat16 on a CPU, and `device` compares with `plain_step` on a GPU (`kernels`
profiles the GPU). `trl_equal` compares updates of `engine: trl` with our own, `vllm_opens` vLLM's responses. `scale`
computes costs at other sizes from measured rates. `machine` measures rates and memory, `bulk` kills a job of judging
again and again, `results` writes tables.

`paper/` compares all methods on the market, `real/` on real pairs, `gsrm/` ways to train a GSRM, and `online/` which
questions to people are worth asking during a training. They use `cells` (stages as processes), `statistics`,
`predictions` (kept in a few kilobytes), `archive` (the file in which they are kept) and `marked` (the generated part of
a page). `serve/` compares the service with a plain one, and lets it soak; `annotate/` measures the annotation page.
"""
