"""Sweeps that other processes train: packed into tasks, handed to Slurm or to workers of this machine, watched."""
