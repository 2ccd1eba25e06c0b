"""What engines tell the user, once per process however many populations it concerns."""

from __future__ import annotations

import functools
import sys


@functools.cache
def say_once(line: str) -> None:
    """Prints a line on stderr, unless this process has printed it already."""
    print(line, file=sys.stderr)
