"""Speed, measured: one training step side by side with TRL's GRPOTrainer on the same work, judging with and without
shared prompts, how the cost grows, and how far the machine's own limit is."""
