"""Sparse features that a narrow network has to reconstruct."""

from __future__ import annotations

import numpy as np

from memcap.config.data_schema import SparseFeaturesConfig
from memcap.data.dataset import Dataset, Samples
from memcap.random import stream


class SparseFeatures(Dataset):
    """Feature i is 0 with probability 1 - p, else uniform in [0, 1]; targets are the inputs.

    Its importance is ``importance_decay ** i``. Elhage et al. 2022, "Toy models of superposition",
    arXiv 2209.10652. With ``num_samples`` null, every step draws a batch of its own.
    """

    config: SparseFeaturesConfig

    def __init__(self, config: SparseFeaturesConfig, seed: int) -> None:
        super().__init__(config, seed)
        self.importance_F = config.importance_decay ** np.arange(config.num_features)

    def training(self) -> Samples:
        purpose = "measured" if self.config.num_samples is None else "data"
        return self._draw(purpose, self.config.num_measured)

    def evaluation(self) -> dict[str, Samples]:
        """``test``: unseen features of the same law."""
        return {"test": self._draw("test", self.config.evaluation_samples)}

    def fresh(self, step: int) -> Samples:
        assert self.config.batch_size is not None
        return self._draw("fresh", self.config.batch_size, counter=step)

    def _draw(self, purpose: str, size: int, counter: int = 0) -> Samples:
        shape = (size, self.config.num_features)
        values = stream(self.seed, f"{purpose}/values", counter).random(shape)
        active = (
            stream(self.seed, f"{purpose}/active", counter).random(shape) < self.config.active_probability
        )
        features_NF = np.where(active, values, 0.0)
        return Samples(features_NF, features_NF)
