"""Training on one device: `rl` is our own loop with credit on steps, `trl` what TRL's trainers do on our data."""
