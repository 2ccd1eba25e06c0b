"""Data sets: where inputs and targets come from."""

from __future__ import annotations

from memcap.config.implementation import implementation
from memcap.config.run_config import RunConfig
from memcap.data.dataset import Dataset, Samples

__all__ = ["Dataset", "Samples", "build_dataset"]


def build_dataset(config: RunConfig) -> Dataset:
    """The data set of one member."""
    dataset: Dataset = implementation(config.data)(config.data, config.seed)
    return dataset
