"""Reading records back: studies as tables. Nothing here imports the training."""

from memcap.study.load import load_study

__all__ = ["load_study"]
