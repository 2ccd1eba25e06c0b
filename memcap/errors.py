"""What goes wrong on the user's side, as one clear line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInput(ValueError):
    """Something the user gave cannot be used: one line (two at most) that says where, got, expected, fix.

    Entry points print the message and exit with status 2; nothing was started or written before it.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the frames are memcap's, the mistake is not."""
        return [f"memcap: {self}"]


class Interrupted(BaseException):
    """The run was asked to stop (SIGTERM); a BaseException, so that no handler of failures swallows it."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint ' (did you mean NAME?)' for the closest of the known names, or an empty string."""
    by_lower = {text.lower(): text for text in known}
    matches = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    return f" (did you mean {by_lower[matches[0]]}?)" if matches else ""
