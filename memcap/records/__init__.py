"""What a run leaves behind: its folder (the truth), the study that lists it, its mirror in W&B."""
