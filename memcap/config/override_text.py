"""An override as text: a key and a Python value in the words of Hydra's grammar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset({"null", "true", "false", "nan", "inf", "on", "off", "yes", "no"})  # not text when bare


def override_text(key: str, value: Any) -> str:
    """``override_text("optimizer.clip_norm", None)`` is ``optimizer.clip_norm=null``; reads back to the value.

    A formula stays bare: the command line quotes it, and people type it so.
    """
    if key == "activation.formula" and isinstance(value, str):
        return f"{key}={value}"
    return f"{key}={value_text(value)}"


def value_text(value: Any) -> str:
    """A value as Hydra's grammar reads it back: null, true, 0.1, [a,b], {a:1}, text in quotes where it needs them."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(value_text, value)) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{value_text(inner)}" for name, inner in value.items()) + "}"
    text = str(value)
    if _BARE.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """Text in quotes as Hydra's grammar reads them: a backslash is special only before a quote."""
    before_quote = re.sub(r"\\+(?='|\Z)", lambda found: found[0] * 2, text)
    return "'" + before_quote.replace("'", "\\'") + "'"
