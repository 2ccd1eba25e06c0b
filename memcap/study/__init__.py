"""Reading records back: runs as objects, studies as tables. Nothing here imports the training."""

from memcap.study.load import load_study
from memcap.study.run import Run, load_run

__all__ = ["Run", "load_run", "load_study"]
