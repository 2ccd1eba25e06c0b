"""Object code between processes: compiled once, then loaded without Numba."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.metadata
import os
import stat
import sys
import tempfile
from pathlib import Path

import llvmlite.binding as llvm

from memcap.engines.fused.registers import processor_features
from memcap.engines.notices import say_once
from memcap.optimizers import clipping

DIGEST_BYTES = 32


def load(symbol: str, code: bytes) -> int:
    """The address of a function in object code, which stays in memory as long as the process."""
    engine = _empty_engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _kept.append(engine)
    return int(engine.get_function_address(symbol))


_kept: list[llvm.ExecutionEngine] = []


def _empty_engine() -> llvm.ExecutionEngine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


def read(name: str) -> tuple[str, bytes] | None:
    """Symbol and code of a piece that some process has compiled; None where there is none, or none that is whole.

    A file that is not whole is said and compiled again; files are written beside their place and renamed, so that
    neither a second process nor a crash leaves one.
    """
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / name
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        say_once(f"memcap: {path} cannot be read ({error.strerror}): compiled anew")
        return None
    digest, rest = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != digest:
        say_once(f"memcap: {path} is broken: compiled anew")
        return None
    symbol, _, code = rest.partition(b"\n")
    return symbol.decode(), code


def write(name: str, symbol: str, code: bytes) -> None:
    """Keeps a piece for later processes; where that cannot be, they compile it again."""
    folder = cache_folder()
    if folder is None:
        return
    if b"__svml" in code:  # a vector library that a process without Numba would not have loaded
        return
    rest = symbol.encode() + b"\n" + code
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(rest).digest() + rest)
        os.replace(temporary, folder / name)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        say_once(f"memcap: compiled code cannot be kept in {folder} ({error.strerror})")


@functools.cache
def cache_folder() -> Path | None:
    """The folder for this version of the kernel on this kind of processor; None where none can be written.

    In ``$XDG_CACHE_HOME/memcap`` or ``~/.cache/memcap``; where the home cannot be written, below the folder for
    temporary files. What is read from it is executed, so nobody else may be able to write there.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    for base in (Path(home) / "memcap", Path(tempfile.gettempdir()) / f"memcap-{owner}"):
        folder = base / "kernels" / version()
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
    writable = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not writable


@functools.cache
def version() -> str:
    """Sixteen hex digits of all that object code follows from: sources, compiler, processor."""
    features = sorted(processor_features().items())
    parts = (
        sys.version, sys.platform, importlib.metadata.version("numba"), llvm.llvm_version_info,
        llvm.get_host_cpu_name(), features, ctypes.sizeof(ctypes.c_void_p),
        sorted((name, value) for name, value in os.environ.items() if name.startswith("NUMBA_")),
    )  # fmt: skip
    content = hashlib.sha256(repr(parts).encode())
    # The offset in the clipping that is compiled stands outside of this package.
    for path in (*sorted(Path(__file__).parent.glob("*.py")), Path(clipping.__file__)):
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:16]


def say_what_takes_so_long() -> None:
    """A line for who waits at a terminal: the first start on a machine compiles for some seconds."""
    if sys.stderr.isatty():
        say_once(
            "memcap: compiling for this processor, which takes some seconds and is kept for the next time"
        )
