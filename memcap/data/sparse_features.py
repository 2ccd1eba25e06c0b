"""Sparse features that a narrow network has to reconstruct."""

from __future__ import annotations

import functools

import numpy as np

from memcap.config.data_schema import SparseFeaturesConfig
from memcap.data.dataset import Dataset, Samples
from memcap.random import restarted, stream


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
        values, active = self._fresh_streams
        return self._drawn(restarted(values, step), restarted(active, step), self.config.batch_size)

    @functools.cached_property
    def _fresh_streams(self) -> tuple[np.random.Generator, np.random.Generator]:
        return self._streams("fresh")

    def _streams(self, purpose: str) -> tuple[np.random.Generator, np.random.Generator]:
        return stream(self.seed, f"{purpose}/values"), stream(self.seed, f"{purpose}/active")

    def _draw(self, purpose: str, size: int) -> Samples:
        return self._drawn(*self._streams(purpose), size)

    def _drawn(self, values: np.random.Generator, active: np.random.Generator, size: int) -> Samples:
        features_NF = values.random((size, self.config.num_features))
        features_NF *= active.random(features_NF.shape) < self.config.active_probability
        return Samples(features_NF, features_NF)
