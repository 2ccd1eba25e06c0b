"""One activation on the board: a built-in kind, or a formula in x."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Final

from memcap.config.formula import parse_formula
from memcap.errors import BadInput

FORMULA: Final = "formula"
GROUP, FORMULA_KEY, FREQUENCY_KEY = "activation", "activation.formula", "activation.frequency"
_NAME: Final = re.compile(r"[A-Za-z0-9_.()*/+^-]{1,40}")
_KEYS: Final = ("name", "activation", "formula", "frequency", "text", "why")


@dataclasses.dataclass(frozen=True)
class Entry:
    """``kind`` and, where it has them, ``formula`` (canonical) and ``frequency`` are the activation; the rest is said
    of it: ``text`` (its formula, for people) and ``why`` it is there."""

    name: str
    kind: str
    formula: str | None = None
    frequency: float | None = None
    text: str = ""
    why: str = ""

    @property
    def key(self) -> tuple[str, str | None, float | None]:
        """What tells activations apart."""
        return self.kind, self.formula, self.frequency

    @property
    def overrides(self) -> dict[str, str]:
        """The overrides that choose it."""
        words = {GROUP: self.kind, FORMULA_KEY: self.formula, FREQUENCY_KEY: self.frequency}
        return {
            key: repr(value) if isinstance(value, float) else value
            for key, value in words.items()
            if value is not None
        }


def formula_entry(formula: str, name: str | None = None, why: str = "") -> Entry:
    """The entry of a formula; its name is the formula itself unless one is given. Raises BadInput with one line."""
    canonical = parse_formula(formula).canonical
    if name is not None and not _NAME.fullmatch(name):
        raise BadInput(f"name must be 1 to 40 letters, digits or any of _ . ( ) * / + ^ -, got {name!r}")
    return Entry(name or canonical, FORMULA, canonical, text=canonical, why=why)


def entry_of(values: Any) -> Entry:
    """An entry of ``conf/leaderboard``: ``{name, formula, why}``, or ``{name, activation, frequency, text, why}``."""
    given = dict(values) if isinstance(values, Mapping) else {}
    if not {"name"} <= set(given) <= set(_KEYS) or ("formula" in given) == ("activation" in given):
        raise BadInput(
            f"leaderboard.activations: an entry needs a name and a formula or an activation, and may have frequency,"
            f" text and why; got {values}"
        )
    name, why = str(given["name"]), str(given.get("why", ""))
    if "formula" in given:
        return formula_entry(str(given["formula"]), name, why)
    kind, frequency = str(given["activation"]), given.get("frequency")
    text = str(given.get("text", kind))
    return Entry(name, kind, frequency=None if frequency is None else float(frequency), text=text, why=why)
