"""Which keys of a table of runs vary, and what each of them is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from memcap.compare.frame import NOT_COUNTED
from memcap.errors import BadInput, nearest

SIZE = "data.num_samples"
REPLICATE = "seed"
RESTART = "restart"  # of each seed the best one counts (``compare.restarts``)
NUISANCES = ("optimizer.learning_rate",)
COUNTED_HARDWARE = ("hardware.dtype", "hardware.autocast")


@dataclasses.dataclass(frozen=True)
class Axes:
    """What each varying key is for.

    compared: a configuration is one combination of their values. nuisance: chosen for each configuration, like N.
    following: compared keys whose value the others determine (``model.output_dim``). fixed: key and its one value.
    x, hue, facet: which compared key goes where in tables and figures; x is that along which the parameters change.
    """

    compared: tuple[str, ...]
    nuisance: tuple[str, ...]
    following: tuple[str, ...]
    fixed: dict[str, Any]
    x: str | None
    hue: str | None
    facet: str | None

    @property
    def shown(self) -> tuple[str, ...]:
        """The compared keys that tell configurations apart, x first."""
        first = [key for key in (self.x, self.hue, self.facet) if key is not None]
        return tuple(dict.fromkeys([*first, *(key for key in self.compared if key not in self.following)]))

    @property
    def lines(self) -> tuple[str, ...]:
        """Compared keys beside x: a fit of capacity over parameters is made for each combination of them."""
        return tuple(key for key in self.shown if key != self.x)


def find_axes(
    frame: pd.DataFrame,
    *,
    x: str | None = None,
    hue: str | None = None,
    facet: str | None = None,
    nuisance: Sequence[str] | None = None,
) -> Axes:
    """The axes of a table of runs, found from what varies; keys that are given win.

    N (``data.num_samples``) and the seed have their part always; a key that is given is compared, also one value of it.
    ``nuisance`` None: the learning rate, unless it is x, hue or facet; an empty one: nothing is chosen but N. Raises
    BadInput for a key that is no column, and for a table without rows.
    """
    if frame.empty:
        raise BadInput("the table of runs has no rows; a comparison needs finished runs (memcap.load_frame)")
    keys = configuration_keys(frame)
    for key in (x, hue, facet, *(nuisance or ())):
        if key == RESTART:
            raise BadInput("restart has its part already: of each seed the best of its restarts counts")
        if key is not None and key not in keys:
            raise BadInput(f"{key} is no key of these runs' configuration{nearest(key, keys)}")
        if key in (SIZE, REPLICATE):
            raise BadInput(f"{key} has its part already: N is the axis of each curve, seeds are replicates")
    placed = [key for key in (x, hue, facet) if key is not None]
    both = sorted(set(placed) & set(nuisance or ()))
    if both:
        raise BadInput(f"nuisance={both[0]} is also an axis to compare; leave it out of one of the two")
    varying = [
        key for key in keys if key not in (SIZE, REPLICATE) and (key in placed or _distinct(frame[key]) > 1)
    ]
    chosen = NUISANCES if nuisance is None else tuple(nuisance)
    nuisances = tuple(key for key in varying if key in chosen and key not in placed)
    compared = _by_sweep([key for key in varying if key not in nuisances], frame.attrs.get("axes", ()))
    compared, follow_size = _without_followers_of_size(frame, compared, nuisances, placed)
    following = _following(frame, compared, placed)
    apart = [key for key in compared if key not in following]
    x = x or _axis_of_parameters(frame, apart, placed) or next((k for k in apart if k not in placed), None)
    rest = [key for key in apart if key not in (x, hue, facet)]
    hue = hue or (rest.pop(0) if rest else None)
    facet = facet or (rest.pop(0) if rest else None)
    fixed = {key: frame[key].iloc[0] for key in keys if key not in varying and key not in (SIZE, REPLICATE)}
    for key in follow_size:
        fixed[key] = "follows N"
    return Axes(tuple(compared), nuisances, tuple(following), fixed, x, hue, facet)


def grouping(frame: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """A number for each combination of the keys, [rows], in the order of first appearance; an absent value is one."""
    if not keys:
        return pd.Series(0, index=frame.index)
    return frame.groupby([_groupable(frame[key]) for key in keys], sort=False, dropna=False).ngroup()


def configuration_keys(frame: pd.DataFrame) -> list[str]:
    """Columns of the configuration that count in a run's identity."""
    keys = []
    for column in map(str, frame.columns):
        group = column.partition(".")[0]
        of_hardware = group == "hardware" and column not in COUNTED_HARDWARE
        of_configuration = column == REPLICATE or ("." in column and "/" not in column)
        if of_configuration and not of_hardware and group not in (*NOT_COUNTED, "provenance"):
            keys.append(column)
    return keys


def _by_sweep(keys: Iterable[str], swept: Sequence[str]) -> list[str]:
    """Swept keys first, in the sweep's order, a swept group's kind before its values."""

    def place(key: str) -> tuple[int, bool]:
        at = [number for number, axis in enumerate(swept) if key == axis or key.startswith(f"{axis}.")]
        return (at[0] if at else len(swept)), not key.endswith(".kind")

    return sorted(keys, key=place)


def _without_followers_of_size(
    frame: pd.DataFrame, compared: Sequence[str], nuisances: Sequence[str], placed: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Keys that nobody swept and that move with N, say a budget, are not compared: they would cut a curve into points.

    Where it is not known what was swept all keys are compared: widths that have an N each are no such keys.
    """
    follow: list[str] = []
    swept = frame.attrs.get("axes", ())
    if not swept or SIZE not in frame or _distinct(frame[SIZE]) < 2:
        return list(compared), follow
    asked = [key for key in compared if key in placed or _is_swept(key, swept)]
    for key in compared:
        if key in asked:
            continue
        others = [other for other in compared if other in asked]
        if not _determines(frame, others, key) and _determines(frame, [*others, *nuisances, SIZE], key):
            follow.append(key)
    return [key for key in compared if key not in follow], follow


def _is_swept(key: str, swept: Sequence[str]) -> bool:
    """Whether somebody swept the key, or the group that it is of: ``optimizer=adam,lbfgs`` sweeps its learning rate."""
    return any(key == axis or key.startswith(f"{axis}.") for axis in swept)


def _following(frame: pd.DataFrame, compared: Sequence[str], placed: Sequence[str]) -> list[str]:
    following: list[str] = []
    for number, key in enumerate(compared):
        before = [other for other in compared[:number] if other not in following]
        if key not in placed and before and _determines(frame, before, key):
            following.append(key)
    return following


def _axis_of_parameters(frame: pd.DataFrame, apart: Sequence[str], placed: Sequence[str]) -> str | None:
    """The key along which the number of parameters changes while the others stand still."""
    if "num_parameters" not in frame:
        return None
    for key in apart:
        others = [other for other in apart if other != key]
        number = frame.groupby(grouping(frame, others))["num_parameters"].nunique()
        if key not in placed and (number > 1).any():
            return key
    return None


def _determines(frame: pd.DataFrame, keys: Sequence[str], key: str) -> bool:
    codes = grouping(frame, [key])
    return bool((codes.groupby(grouping(frame, keys)).nunique() == 1).all())


def _distinct(column: pd.Series) -> int:
    try:
        return int(column.nunique(dropna=False))
    except TypeError:  # lists, which have no hash
        return int(_groupable(column).nunique(dropna=False))


def _groupable(column: pd.Series) -> pd.Series:
    """The same values; as text where they are lists, which cannot be grouped by."""
    unhashable = column.dtype == object and column.map(type).isin((list, dict)).any()
    return column.map(repr) if unhashable else column
