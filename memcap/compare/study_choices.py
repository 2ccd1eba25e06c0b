"""What studies say should be drawn of them (``compare.y`` and kin of a preset), where the command does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pandas as pd

KEYS: Final = ("y", "x", "hue", "facet")
DEFAULT_Y: Final = "bits"


def agreed(studies: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The choices of these ``study.json``; of several studies those that all of them have alike."""
    said = [study.get("compare") or {} for study in studies]
    return {
        key: said[0][key]
        for key in KEYS
        if said and said[0].get(key) and all(s.get(key) == said[0][key] for s in said)
    }


def completed(given: Mapping[str, Any], frame: pd.DataFrame) -> dict[str, Any]:
    """``y``, ``x``, ``hue``, ``facet``: what is given, then what the studies say, then ``y=bits``.

    A study's word is a suggestion: a key or metric that its runs do not have, or that is given another place, is left
    out, where the same on the command line would be an error.
    """
    chosen: dict[str, Any] = {key: given.get(key) for key in KEYS}
    for key, word in frame.attrs.get("compare", {}).items():
        is_known = key == "y" or word in frame
        if chosen[key] is None and is_known and word not in chosen.values():
            chosen[key] = word
    chosen["y"] = chosen["y"] or DEFAULT_Y
    return chosen
