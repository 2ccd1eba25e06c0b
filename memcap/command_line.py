"""The command line around Hydra: arguments are quoted for its grammar, its errors become one line each."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from memcap.errors import BadInput, Interrupted
from memcap.explanations import explain

__all__ = [
    "RunFailed",
    "arrange_arguments",
    "config_path",
    "explain",
    "quote_arguments",
    "register_plugins",
    "run_hydra",
]

QUOTED_KEYS = re.compile(r"(\+{0,2}(activation\.formula|zip|cells|run)=)(.+)", re.DOTALL)
SWEEP_FUNCTION = re.compile(r"(choice|shuffle|sort)\((.*)\)", re.DOTALL)
QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
FLAGS_WITH_VALUE = (
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name"),
    *("-cd", "--config-dir", "-i", "--info", "--experimental-rerun"),
)


class RunFailed(RuntimeError):
    """A run of a sweep failed; its traceback was reported and kept where it happened."""


def run_hydra(main: Callable[[], None]) -> int:
    """Calls a ``hydra.main`` function on ``sys.argv`` and returns the exit status.

    0: done. 1: a run failed, said in one line (unexpected errors keep their traceback: they propagate). 2: bad
    input, said in one line on stderr, after which nothing was started. 130: interrupted. A user who sets
    HYDRA_FULL_ERROR=1 sees the traceback too.
    """
    arguments = sys.argv[1:]
    try:
        if "--version" in arguments:
            from memcap import __version__

            print(f"memcap {__version__}")
            return 0
        sys.argv[1:] = arrange_arguments(quote_arguments(arguments))
        register_plugins()
        with _errors_propagate():
            main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except (KeyboardInterrupt, Interrupted) as error:
        return _say(error if str(error) else "interrupted", 130)
    except RunFailed as error:
        return _say(error, 1)
    except Exception as error:
        explained = explain(error)
        if explained is None:
            raise
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            traceback.print_exception(error)
        return _say(explained, 2)
    finally:
        sys.argv[1:] = arguments
    return 0


def config_path() -> str:
    """Where ``hydra.main`` finds the configurations: in the installed package, else in the checkout beside it."""
    import importlib.util

    if importlib.util.find_spec("memcap.conf") is not None:
        return "pkg://memcap.conf"
    return os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "conf")


def register_plugins() -> None:
    """Makes memcap's launchers and its sweepers known.

    Hydra looks for plugins by walking the folders of the namespace package ``hydra_plugins``; an editable install
    has no such folder, only an import hook, so that it would find nothing there.
    """
    import importlib

    from hydra.core.plugins import Plugins

    known = Plugins.instance().class_name_to_class
    plugins = (
        ("launcher", "MemcapLauncher"),
        ("sweeper", "MemcapSweeper"),
        ("search_sweeper", "SearchSweeper"),
        ("submitters", "SlurmLauncher"),
        ("submitters", "LocalLauncher"),
    )
    for name, plugin in plugins:
        module = importlib.import_module(f"hydra_plugins.memcap.{name}")
        module.store_config()
        if f"{module.__name__}.{plugin}" not in known:
            Plugins.instance().register(getattr(module, plugin))


def quote_arguments(arguments: Sequence[str]) -> list[str]:
    """Quotes what Hydra's grammar cannot read bare: formulas, the values of ``zip=`` and ``cells=``, and ids of runs
    (``run=12e456789012`` is no number).

    ``activation.formula=x*sin(x),max(x,0)`` becomes a sweep over two quoted formulas: commas outside parentheses
    separate them. What is quoted already stays as it is, so quoting twice changes nothing.
    """
    return [_quote_argument(argument) for argument in arguments]


def arrange_arguments(arguments: Sequence[str]) -> list[str]:
    """Flags first, then overrides: argparse refuses ``a=1 -m b=2``. Raises BadInput for an unknown flag."""
    flags: list[str] = []
    overrides: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        is_flag = argument.startswith("-") or before in FLAGS_WITH_VALUE
        (flags if is_flag else overrides).append(argument)
    arranged = flags + overrides
    parsed = _parse_flags(arranged)
    others = (
        parsed.help,
        parsed.hydra_help,
        parsed.cfg,
        parsed.info,
        parsed.shell_completion,
        parsed.multirun,
    )
    if not any(others) and not any(o.startswith("hydra.mode=") for o in overrides):
        for override in overrides:
            if re.match(r"(zip|cells)=(?!null$).", override):
                raise BadInput(f"{override} makes several runs; add -m to train them all")
    return arranged


def _quote_argument(argument: str) -> str:
    found = QUOTED_KEYS.fullmatch(argument)
    if not found:
        return argument
    start, key, value = found.groups()
    if key == "activation.formula":
        return start + _quote_formulas(value)
    return argument if value == "null" else start + _quote(value)


def _quote_formulas(text: str) -> str:
    if function := SWEEP_FUNCTION.fullmatch(text.strip()):
        return f"{function[1]}({_quote_formulas(function[2])})"
    return ",".join(_quote(part.strip()) for part in _split_outside(text))


def _quote(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return text if QUOTED.fullmatch(text) else QuotedString(text, Quote.single).with_quotes()


def _split_outside(text: str) -> Iterator[str]:
    """Splits at commas that stand neither in parentheses nor in quotes."""
    depth, start, position = 0, 0, 0
    while position < len(text):
        if quoted := QUOTED.match(text, position):
            position = quoted.end()
            continue
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if text[position] == "," and depth <= 0:
            yield text[start:position]
            start = position + 1
        position += 1
    yield text[start:]


def _parse_flags(arguments: Sequence[str]) -> argparse.Namespace:
    from hydra._internal.utils import get_args_parser

    def refuse(message: str) -> NoReturn:
        raise BadInput(f"{message}; --help shows how to call memcap")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_args(list(arguments))


@contextlib.contextmanager
def _errors_propagate() -> Iterator[None]:
    """Lets errors reach the caller: Hydra prints nine lines and exits, or announces a job's failure on stderr."""
    from hydra.core.utils import JobReturn, JobStatus

    announced = JobReturn.return_value

    def return_value(job: JobReturn) -> Any:
        error = job._return_value
        if job.status is JobStatus.FAILED and (isinstance(error, RunFailed) or explain(error) is not None):
            raise error
        return announced.fget(job)  # type: ignore[attr-defined]

    full_error = os.environ.setdefault("HYDRA_FULL_ERROR", "memcap")
    os.environ["HYDRA_FULL_ERROR"] = "1" if full_error == "memcap" else full_error
    JobReturn.return_value = property(return_value, announced.fset)  # type: ignore
    try:
        yield
    finally:
        JobReturn.return_value = announced  # type: ignore
        if full_error == "memcap":
            del os.environ["HYDRA_FULL_ERROR"]


def _say(message: object, status: int) -> int:
    print(f"memcap: {message}", file=sys.stderr)
    return status
