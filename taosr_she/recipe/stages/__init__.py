"""One file a kind of stage: each has `run(context)`, which fills the stage's folder and nothing else."""
