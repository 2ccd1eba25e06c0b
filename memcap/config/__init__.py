"""The typed configuration of a run. Nothing here imports torch: help and validation must be instant."""

from memcap.config.run_config import RunConfig

__all__ = ["RunConfig"]
