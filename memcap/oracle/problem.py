"""A linear classification of random labels: the samples that a run of the same keys trains on."""

from __future__ import annotations

import dataclasses

import numpy as np

from memcap.random import stream


@dataclasses.dataclass(frozen=True)
class LinearProblem:
    """``model=linear data=random_labels`` without its N: D inputs (one more, always 1, with ``bias``), V classes, seed.

    A smaller N is a prefix of a larger one, so what is separable at N is separable at every smaller N.
    """

    input_dim: int
    num_classes: int
    seed: int
    bias: bool = False

    @property
    def num_inputs(self) -> int:
        """Rows of the weights: D, and one for a bias."""
        return self.input_dim + self.bias

    @property
    def num_parameters_effective(self) -> int:
        """(V − 1)(D + bias): adding the same vector to all columns of A changes no probability."""
        return (self.num_classes - 1) * self.num_inputs

    @property
    def name(self) -> str:
        """For people."""
        return f"D = {self.input_dim}, V = {self.num_classes}{', bias' * self.bias}, seed {self.seed}"

    def samples(self, num_samples: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [N, D (+ 1)] and labels [N], float64 and integers: those of ``memcap.data.random_labels``."""
        inputs_ND: np.ndarray = stream(self.seed, "data/inputs").standard_normal(
            (num_samples, self.input_dim)
        )
        labels_N: np.ndarray = stream(self.seed, "data/labels").integers(self.num_classes, size=num_samples)
        return (np.c_[inputs_ND, np.ones(num_samples)] if self.bias else inputs_ND), labels_N
