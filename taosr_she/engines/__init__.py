"""Training engines of others for what does not fit our own loop: larger models, more devices, other samplers.

They get step credit and examination unchanged; sampling, sharding and optimizing are theirs. `trl/`: TRL's GRPOTrainer
with accelerate, behind `engine: trl` of an `rl` stage. `verl/`: a plug-in of verl, for many machines.
"""
