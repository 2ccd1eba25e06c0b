"""Where compiled pieces are kept between processes, and what happens when they cannot be."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import llvmlite
import numba
from numba.core import config as numba_config

Built = TypeVar("Built")


def with_cache(build: Callable[[bool], Built], part: str) -> Built:
    """``build(True)`` with Numba's cache in a folder of our own, or ``build(False)`` where there is none.

    The folder is named by ``part`` and a digest of all sources of the kernel: Numba sees changes of a function's
    own file only, and a piece is made of several. A broken file is thrown away with all others, and said; Numba
    itself knows the processor. Files are written whole and renamed, and two processes that compile a part at once
    write the same: ``part`` must hold one signature of each function.
    """
    folder = cache_folder()
    if folder is None:
        return build(False)
    try:
        return _built(build, folder / part)
    except Exception as error:
        broken = error
    # Either the cache is broken, or the build; without a cache it shows which.
    built = build(False)
    shutil.rmtree(folder / part, ignore_errors=True)
    _say_once(
        f"memcap: compiled code in {folder / part} could not be used ({type(broken).__name__}): built anew"
    )
    return built


def _built(build: Callable[[bool], Built], folder: Path) -> Built:
    before = numba_config.CACHE_DIR
    numba_config.CACHE_DIR = str(folder)  # read when caching is enabled, which ``build`` does
    try:
        return build(True)
    finally:
        numba_config.CACHE_DIR = before


@functools.cache
def cache_folder() -> Path | None:
    """The folder of this version of the kernel, for this user alone; None where none can be written.

    ``$XDG_CACHE_HOME/memcap`` or ``~/.cache/memcap``; where the home cannot be written, below the folder for
    temporary files. What is read from it is executed, so nobody else may be able to write there.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    for base in (Path(home) / "memcap", Path(tempfile.gettempdir()) / f"memcap-{owner}"):
        folder = base / "kernels" / source_digest()
        try:
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError:
            continue
        if _is_private(base):
            return folder
    return None


def _is_private(folder: Path) -> bool:
    if not hasattr(os, "getuid"):
        return True
    state = folder.lstat()
    return (
        stat.S_ISDIR(state.st_mode)
        and state.st_uid == os.getuid()
        and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


@functools.cache
def source_digest() -> str:
    """Sixteen hex digits of what compiled code follows from, but for the processor."""
    content = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {sys.version}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:16]


@functools.cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)
