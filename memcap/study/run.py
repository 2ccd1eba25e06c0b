"""A recorded run as an object: its numbers, its arrays, its network and its data."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.study.find_run import find_run
from memcap.study.recorded_config import recorded_config
from memcap.study.rerun import rerun_line
from memcap.study.units import number_text

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from memcap.config.run_config import RunConfig
    from memcap.data import Dataset, Samples
    from memcap.study.trained_model import TrainedModel


def load_run(run_id: str | Path, outputs: str | Path = "outputs") -> Run:
    """The run of this id, of which the first digits (four at least) will do, or of the path of its folder.

    Runs that failed or are not finished are runs too: ``status`` says it, and their summary is empty. Raises BadInput
    where no run or more than one is meant.
    """
    return Run(find_run(run_id, outputs))


class Run:
    """What is recorded of one run, as it was when this object was made; arrays are read when they are asked for.

    A run with a part of your own imports that part for ``config``, ``model`` and ``data``, from where it was.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._result = folder.read_result() or {}
        self._failure = folder.read_failure() or {}

    @property
    def run_id(self) -> str:
        return self._folder.run_id

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    @property
    def status(self) -> str:
        """``finished`` or ``diverged``, which have a result; ``failed``, ``started`` or ``absent``."""
        return str(self._result["status"]) if self._result else self._folder.state()

    @property
    def stop_reason(self) -> str | None:
        """Why it ended: its budget, everything memorized, a plateau; None without a result."""
        return self._result.get("stop_reason")

    @property
    def error(self) -> str | None:
        """Why the latest attempt failed, in one line; None if it did not."""
        return self._failure.get("error")

    @property
    def values(self) -> dict[str, Any]:
        """The configuration as it is recorded: plain nested values."""
        record = self._result or self._failure
        config: dict[str, Any] = record["config"] if record else self._folder.read_config()
        return config

    @functools.cached_property
    def config(self) -> RunConfig:
        """The configuration, typed: ``run.config.model.width``."""
        return recorded_config(self.values)

    @property
    def summary(self) -> dict[str, Any]:
        """The metrics at the end by name (``memory/bits`` in bits, ``train/loss_nats``) and the parameter counts."""
        return dict(self._result.get("summary", {}))

    @property
    def provenance(self) -> dict[str, Any]:
        """Commit, versions, device, threads, wall time in s, data fingerprint."""
        return dict(self._result.get("provenance", {}))

    @functools.cached_property
    def history(self) -> pd.DataFrame:
        """A row per measurement, indexed by the step it was taken at; a column per metric."""
        import pandas as pd

        rows = self._folder.read_history()
        return pd.DataFrame(rows).set_index("train/step") if rows else pd.DataFrame()

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """The final weights by name (``hidden1.weight`` [D, W]), in the dtype of the run."""
        return self.arrays("weights")

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of ``<name>.npz``: of ``samples`` ``initial_loss``, ``final_loss`` and more, [N] each.

        Raises BadInput where the run did not keep them.
        """
        try:
            return self._folder.read_arrays(name)
        except FileNotFoundError:
            kept = ", ".join(sorted(path.stem for path in self.path.glob("*.npz"))) or "none"
            raise BadInput(
                f"run {self.run_id} ({self.status}) has no arrays {name!r}; it has: {kept}. Weights are kept with"
                " records.weights=final up to records.weights_up_to parameters, samples with measure.samples=true"
            ) from None

    @functools.cached_property
    def model(self) -> TrainedModel:
        """The trained network: ``run.model(inputs)``, inputs [N, D] of NumPy or torch, gives outputs [N, V]."""
        from memcap.study.trained_model import TrainedModel

        return TrainedModel(self.config, self.weights)

    @functools.cached_property
    def data(self) -> Samples:
        """The samples that it was trained on, drawn again: ``inputs_ND`` [N, D] float64, ``targets_N`` [N].

        With fresh batches, the fixed set on which its training loss is measured. Raises BadInput where they are not
        those of the record, because the code that draws them has changed.
        """
        samples = self._dataset.training()
        recorded = self.provenance.get("data_fingerprint")
        if recorded is not None and samples.fingerprint() != recorded:
            raise BadInput(
                f"run {self.run_id}: its data cannot be drawn again, the code or its packages have changed: fingerprint"
                f" {samples.fingerprint()}, recorded {recorded}"
            )
        return samples

    @functools.cached_property
    def evaluation_sets(self) -> dict[str, Samples]:
        """The sets that it was evaluated on and not trained on, by name (``null``, ``test``), drawn again.

        Raises BadInput where ``data`` does: the code that draws these is the same, and they have no fingerprint.
        """
        _ = self.data
        return self._dataset.evaluation()

    @property
    def command(self) -> str:
        """The command line that trains it again."""
        return rerun_line(self.values, str(self.path.parents[2]))

    def show(self, *, everything: bool = False) -> None:
        """Prints its page, as ``python -m memcap.show`` does."""
        from memcap.study.run_page import run_page

        print(*run_page(self._folder, everything=everything), sep="\n")

    def __repr__(self) -> str:
        names = {"bits": "memory/bits", "loss": "train/loss_nats", "mse": "train/loss_mse"}
        shown = [f"{short} {number_text(self.summary[n])}" for short, n in names.items() if n in self.summary]
        what = ", ".join(shown) or self.error or ""
        return f"<Run {self.run_id} {self.status}{': ' * bool(what)}{what}>"

    @functools.cached_property
    def _dataset(self) -> Dataset:
        from memcap.data import build_dataset

        return build_dataset(self.config)
