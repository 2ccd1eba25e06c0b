"""What every data set is to the rest of the program."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
from typing import Any

import numpy as np

from memcap.config.data_schema import DataConfig
from memcap.errors import BadInput


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs [N, D] float64 with their targets: classes [N] int64, or features [N, F] float64."""

    inputs_ND: np.ndarray
    targets_N: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs_ND)

    def fingerprint(self) -> str:
        """Sixteen hex digits of the SHA-256 of inputs and targets, to see that two sets are equal."""
        content = hashlib.sha256(np.ascontiguousarray(self.inputs_ND).tobytes())
        content.update(np.ascontiguousarray(self.targets_N).tobytes())
        return content.hexdigest()[:16]


class Dataset(abc.ABC):
    """The samples of one member, drawn from the streams of its seed; everything is float64 NumPy.

    ``baseline_bits``: code length of one sample's target without a model, or None where a loss is no code
    length. ``importance_F``: weight of each feature in a squared error, or None.
    """

    baseline_bits: float | None = None
    importance_F: np.ndarray | None = None

    def __init__(self, config: Any, seed: int) -> None:
        self.config: DataConfig = config
        self.seed = seed

    @abc.abstractmethod
    def training(self) -> Samples:
        """The finite training set; for fresh batches, the fixed set that the training loss is measured on."""

    @abc.abstractmethod
    def evaluation(self) -> dict[str, Samples]:
        """Named sets that losses are measured on and nothing is trained on."""

    def fresh(self, step: int) -> Samples:
        """The batch of step ``step`` (from 0) of a data set without end (``num_samples`` null); most have none."""
        raise BadInput(
            f"data={self.config.kind} draws no fresh batches, got data.num_samples=null; give it a number"
        )
