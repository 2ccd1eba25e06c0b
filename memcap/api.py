"""memcap in Python: the same runs, ids, studies and records as the command line's.

``memcap.run``, ``sweep``, ``load_run`` and ``load_study`` are these functions; ``import memcap`` imports none of it
before one of them is used.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from memcap.cells import train_cells
from memcap.command_line import RunFailed
from memcap.config.cell import Cell
from memcap.config.override_text import override_text, value_text
from memcap.errors import BadInput
from memcap.hydra_session import HydraSession, SweepTask
from memcap.study import Run, load_run, load_study
from memcap.study.density import spectral_density
from memcap.study.load import runs_table

if TYPE_CHECKING:
    import pandas as pd

    from memcap.outcome import CellOutcome

__all__ = ["BadInput", "Run", "RunFailed", "load_run", "load_study", "run", "spectral_density", "sweep"]

Overrides = str | Sequence[str] | Mapping[str, Any]
LISTS = ("allow_targets", "tracking.tags")  # keys whose one value is a list; a sweep has one of each


def run(overrides: Overrides = (), *, config_dir: str | os.PathLike[str] | None = None, **keys: Any) -> Run:
    """Trains one run, or finds it where it is finished, and returns it.

    ``overrides`` are those of the command line, as one text (``"model.width=8 optimizer=sgd"``), as a list of them,
    or as a mapping (``{"model.width": 8}``); keys without a dot can be keywords (``seed=1``). ``config_dir`` adds a
    folder of options of one's own, as ``--config-dir`` does. A run that diverged is a result; see ``Run.status``.

    Raises BadInput, one line, for what cannot be used, before anything is written, and RunFailed where the training
    raised an error. Ctrl-C and the kernel's interrupt raise KeyboardInterrupt after the records are closed.
    """
    texts = as_overrides(overrides, keys, several=False)
    cell = HydraSession(config_dir).cell(texts)
    with torch_threads_restored():
        (outcome,) = train_cells([cell], command=_call("run", texts, config_dir))
    if outcome.status == "failed":
        raise RunFailed(
            f"run {cell.run_id} failed: {outcome.error} (memcap.load_run({cell.run_id!r}).show())"
        )
    return load_run(cell.run_id, cell.config.paths.outputs)


def sweep(
    overrides: Overrides = (), *, config_dir: str | os.PathLike[str] | None = None, **keys: Any
) -> pd.DataFrame:
    """Trains the cells of a sweep that are not finished and returns them all as a table, in the order of the sweep.

    Overrides as for ``run``, and several values of a key are swept: ``"model.width=8,16"``, or a list, tuple, range or
    array in a mapping or keyword: ``sweep({"model.width": [8, 16]}, seed=range(3))``. Also ``zip``, ``cells`` and
    ``experiment``, as on the command line. A list for ``allow_targets`` or ``tracking.tags`` is their one value.

    The table has the columns of ``load_study``, but only the rows of this sweep; ``attrs["study"]`` names the study,
    which may hold more runs, ``attrs["axes"]`` the swept keys, ``attrs["failed"]`` maps the ids of failed runs, which
    are no rows, to their errors. Raises RunFailed if no run has a result, BadInput as ``run`` does.
    """
    texts = as_overrides(overrides, keys, several=True)
    trained: list[tuple[CellOutcome, ...]] = []
    swept: list[str] = []

    def train_all(cells: Sequence[Cell], axes: Sequence[str]) -> list[CellOutcome]:
        outcomes = train_cells(cells, axes, _call("sweep", texts, config_dir))
        trained.append(tuple(outcomes))
        swept.extend(axes)
        return outcomes

    with torch_threads_restored():
        returns = HydraSession(config_dir).sweep(texts, SweepTask(train_all))
    if not trained:  # by another launcher, in processes of its own
        own = [text.partition("=") for text in returns[0].overrides or ()]
        values = {key: value.strip("'") for key, _, value in own}
        return load_study(values["study"], values.get("paths.outputs", "outputs"))
    return _table([outcome for batch in trained for outcome in batch], list(dict.fromkeys(swept)))


def _table(outcomes: Sequence[CellOutcome], axes: Sequence[str]) -> pd.DataFrame:
    """A row for each distinct run of a sweep that has a result."""
    by_id = {outcome.cell.run_id: outcome for outcome in outcomes}
    config = outcomes[0].cell.config
    failed = {run_id: str(outcome.error) for run_id, outcome in by_id.items() if outcome.status == "failed"}
    listed = ((run_id, outcome.cell.overrides) for run_id, outcome in by_id.items() if run_id not in failed)
    table = runs_table(listed, str(config.study), config.paths.outputs)
    if table.empty:
        raise RunFailed(
            f"no run of study {config.study} has a result; the first failed with {next(iter(failed.values()))}"
        )
    table.attrs |= {"axes": list(axes), "failed": failed}
    return table


def as_overrides(overrides: Overrides, keys: Mapping[str, Any], *, several: bool) -> list[str]:
    """Overrides as the command line has them. ``several``: a list is a sweep over its items, not one value."""
    if isinstance(overrides, str):
        overrides = shlex.split(overrides)
    texts = [] if isinstance(overrides, Mapping) else list(overrides)
    for text in texts:
        if not isinstance(text, str):
            raise BadInput(f"overrides must be text like model.width=8, got {text!r}; a mapping takes values")
        if text.startswith("-"):
            raise BadInput(
                f"{text} is a flag of the command line; here are only overrides like model.width=8"
            )
    given = {**overrides, **keys} if isinstance(overrides, Mapping) else keys
    for key, value in given.items():
        texts += _texts(key, value, several)
    return texts


def _texts(key: str, value: Any, several: bool) -> Iterator[str]:
    """One key with a Python value; a mapping is a group: ``model={"width": 8}``."""
    if hasattr(value, "tolist"):  # of NumPy, pandas or torch
        value = value.tolist()
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(f"{key}.{name}", inner, several)
    elif isinstance(value, list | tuple | range):
        items = [item.tolist() if hasattr(item, "tolist") else item for item in value]
        if not several or key in LISTS:
            yield override_text(key, items)
        elif not items:
            raise BadInput(f"{key} is a sweep over no values")
        else:  # choice() makes an axis of one value, too
            joined = ",".join(map(value_text, items))
            yield f"{key}={joined}" if len(items) > 1 else f"{key}=choice({joined})"
    else:
        yield override_text(key, value)


def _call(function: str, texts: Sequence[str], config_dir: str | os.PathLike[str] | None) -> str:
    """How to ask for the same again, for the study's record."""
    options = "" if config_dir is None else f", config_dir={os.fspath(config_dir)!r}"
    return f"memcap.{function}({shlex.join(texts)!r}{options})"


@contextlib.contextmanager
def torch_threads_restored() -> Iterator[None]:
    """A training chooses torch's threads for its own size; the program around it gets its number back.

    Also a program that imports torch only afterwards: it gets the number that torch takes by itself.
    """
    before = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None
    try:
        yield
    finally:
        if "torch" in sys.modules:
            from memcap.engines.threads import all_threads

            sys.modules["torch"].set_num_threads(before or all_threads())
