"""Hydra plugins of memcap."""
