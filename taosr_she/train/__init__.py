"""Training on one device: `rl` is our own loop with credit on steps, `trl` runs TRL's trainers on our data."""
