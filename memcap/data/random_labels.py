"""Gaussian inputs with uniform labels: the data set of Memory 1 and 2."""

from __future__ import annotations

import math

import numpy as np

from memcap.config.data_schema import RandomLabelsConfig
from memcap.data.dataset import Dataset, Samples
from memcap.random import stream


class RandomLabels(Dataset):
    """x ~ N(0, 1)^D, y ~ Uniform{0..V-1}, independent: nothing to learn, log2 V bits a label to memorize.

    Inputs and labels are separate streams, drawn row by row, so a smaller N is a prefix of a larger one.
    Liu 2026, "Memory 1" and "Memory 2".
    """

    config: RandomLabelsConfig

    def __init__(self, config: RandomLabelsConfig, seed: int) -> None:
        super().__init__(config, seed)
        self.baseline_bits = math.log2(config.num_classes)

    def training(self) -> Samples:
        return self._draw("data", self.config.num_samples)

    def evaluation(self) -> dict[str, Samples]:
        """``null``: fresh data of the same law, on which any skill is an error of the measurement; ``test``: the
        samples that the training streams would give next. Both are as large as the training set."""
        size = self.config.num_samples
        longer = self._draw("data", 2 * size)
        following = Samples(longer.inputs_ND[size:], longer.targets_N[size:])
        return {"null": self._draw("null", size), "test": following}

    def _draw(self, purpose: str, size: int) -> Samples:
        shape = (size, self.config.input_dim)
        inputs_ND: np.ndarray = stream(self.seed, f"{purpose}/inputs").standard_normal(shape)
        targets_N: np.ndarray = stream(self.seed, f"{purpose}/labels").integers(
            self.config.num_classes, size=size
        )
        return Samples(inputs_ND, targets_N)
