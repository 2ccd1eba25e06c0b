"""What the files of a run folder hold: a result, a failure, the configuration as YAML."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

SCHEMA: Final = 1
DONE: Final = ("finished", "diverged")


def result_record(
    *,
    run_id: str,
    status: str,
    stop_reason: str,
    steps: int,
    attempts: int,
    config: Mapping[str, Any],
    summary: Mapping[str, Any],
    provenance: Mapping[str, Any],
    studies: Iterable[str] = (),
) -> dict[str, Any]:
    """The content of ``result.json``; ``summary`` maps flat metric names to their final values."""
    if status not in DONE:
        raise ValueError(f"a result is {' or '.join(DONE)}, not {status!r}; write a failure instead")
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "status": status,
        "stop_reason": stop_reason,
        "steps": steps,
        "attempts": attempts,
        "config": dict(config),
        "summary": dict(summary),
        "provenance": dict(provenance),
        "studies": list(studies),
    }


def failure_record(
    *, run_id: str, error: BaseException, attempts: int, config: Mapping[str, Any], failures: int = 1
) -> dict[str, Any]:
    """The content of ``failure.json``: the error in one line, its traceback, and what was being run.

    ``failures`` counts the attempts that ended in an error; ``attempts`` counts those that were killed too.
    """
    text = " ".join(str(error).split())
    return {
        "schema": SCHEMA,
        "run_id": run_id,
        "status": "failed",
        "error": f"{type(error).__name__}: {text}" if text else type(error).__name__,
        "traceback": "".join(traceback.format_exception(type(error), error, error.__traceback__)),
        "attempts": attempts,
        "failures": failures,
        "config": dict(config),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # libyaml: 10 times faster
    def ignore_aliases(self, data: Any) -> bool:
        return True  # a list that two fields share is written out twice, not as an anchor and an alias


def as_yaml(config: Mapping[str, Any]) -> str:
    """The content of ``config.yaml``."""
    return str(yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def from_yaml(content: bytes) -> dict[str, Any]:
    """A configuration that was written so; empty for what is none."""
    try:
        config = yaml.load(content, Loader=_LOADER)
    except yaml.YAMLError:
        return {}
    return config if isinstance(config, dict) else {}
