"""TRL's GRPOTrainer with step credit: any number of processes, DDP, FSDP2, DeepSpeed, LoRA, vLLM (docs/scale.md).

`settings` has what a recipe may set and what is refused, `arguments` turns both into TRL's own. `trainer` is the
trainer; its rank 0 examines, credits and writes through `lead`. `world` makes the processes of a run a process group of
accelerate, `start_check` looks at the first update, `train` is the whole training. `configs/` has files for
`accelerate launch --config_file`.
"""
