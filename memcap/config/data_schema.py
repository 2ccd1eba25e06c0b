"""Keys of the data sets."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

from memcap.config.component import Component
from memcap.config.fields import counts

CLASSES, FEATURES = "classes", "features"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Component, abc.ABC):
    """A data set; ``num_samples`` None means a fresh batch every step."""

    targets: ClassVar[str] = CLASSES
    num_samples: int | None = counts(at_least=1, per_member=True)
    batch_size: int | None = counts(at_least=1)

    @property
    @abc.abstractmethod
    def num_inputs(self) -> int:
        """Dimension of an input, D."""

    @property
    @abc.abstractmethod
    def num_outputs(self) -> int:
        """Outputs that the targets need: V classes or F features."""

    @property
    def num_measured(self) -> int:
        """Samples that a loss is measured on."""
        assert self.num_samples is not None
        return self.num_samples


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomLabelsConfig(DataConfig):
    kind = "random_labels"
    implementation = "memcap.data.random_labels:RandomLabels"
    num_samples: int = counts(at_least=1, per_member=True)
    input_dim: int = counts(at_least=1)
    num_classes: int = counts(at_least=2)

    @property
    def num_inputs(self) -> int:
        return self.input_dim

    @property
    def num_outputs(self) -> int:
        return self.num_classes


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseFeaturesConfig(DataConfig):
    kind = "sparse_features"
    implementation = "memcap.data.sparse_features:SparseFeatures"
    targets = FEATURES
    num_features: int = counts(at_least=1)
    active_probability: float = counts(above=0, at_most=1, per_member=True)
    importance_decay: float = counts(above=0, at_most=1, per_member=True)
    # Counts: with fresh batches it sizes the set whose loss decides on stopping and divergence.
    evaluation_samples: int = counts(at_least=1)

    @property
    def num_inputs(self) -> int:
        return self.num_features

    @property
    def num_outputs(self) -> int:
        return self.num_features

    @property
    def num_measured(self) -> int:
        return self.num_samples or self.evaluation_samples
