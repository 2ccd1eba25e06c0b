"""One run on a page of text: fate, configuration, numbers, curves, where it comes from, where its files are."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from memcap.config.identity import identity_payload, run_id
from memcap.config.override_text import value_text
from memcap.config.schema import COMPONENTS
from memcap.errors import BadInput
from memcap.records.run_folder import RunFolder
from memcap.records.sparkline import BLOCKS, sparkline
from memcap.study.recorded_config import recorded_config
from memcap.study.rerun import rerun_line
from memcap.study.units import number_text, unit

MARGIN = "  "
TRACEBACK_LINES = 6
CURVES = (("memory/bits", False), ("train/loss_nats", True), ("train/loss_mse", True))  # metric, logarithmic


def run_page(
    folder: RunFolder, *, everything: bool = False, width: int = 80, blocks: str = BLOCKS
) -> Iterator[str]:
    """The lines of the page, at most ``width`` characters where no single word is longer.

    ``everything`` shows each key of the configuration, else those that count in the run's identity.
    """
    result, failure = folder.read_result(), folder.read_failure()
    history = folder.read_history()
    record = result or failure or {"config": folder.read_config()}
    config = record["config"]
    yield from _head(folder, result, failure, history)
    if result is None and failure is not None:
        yield from _section("failure", _failure(folder, failure, width))
    yield from _section("configuration", _configuration(config, everything, width))
    if result is not None:
        yield from _section("metrics", _metrics(result["summary"], history))
    yield from _section("curves", _curves(history, width, blocks))
    if result is not None:
        yield from _section("provenance", _provenance(result, width))
    yield from _section("files", _files(folder))
    yield from _section("studies", _studies(folder, record.get("studies", [])))
    yield from _section("again", _again(folder, config))


def _head(
    folder: RunFolder,
    result: Mapping[str, Any] | None,
    failure: Mapping[str, Any] | None,
    history: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    if result is not None:
        reason = {"budget": "its budget was spent"}.get(result["stop_reason"], result["stop_reason"])
        fate = f"{result['status']} ({reason})"
        steps = f"{result['steps']:,} steps"
    else:
        steps = f"measured up to step {history[-1]['train/step']:,}" if history else "no measurement"
        fate = "failed" if failure is not None else "started, not finished: it is training now, or was killed"
    attempts = folder.attempts()
    yield f"run {folder.run_id}  {fate}, {steps}, {_plural(attempts, 'attempt')}"
    if result is not None and failure is not None:
        yield f"{MARGIN}a later attempt failed: {failure['error']}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    """A title and its lines; nothing where there are none."""
    body = list(lines)
    if body:
        yield ""
        yield title
        yield from (f"{MARGIN}{line}" for line in body)


def _failure(folder: RunFolder, failure: Mapping[str, Any], width: int) -> Iterator[str]:
    yield from textwrap.wrap(failure["error"], width - len(MARGIN))
    yield f"failed {_plural(failure['failures'], 'time')}, last {failure['time']}; the end of its traceback:"
    yield from (f"{MARGIN}{line}" for line in failure["traceback"].rstrip().splitlines()[-TRACEBACK_LINES:])
    yield f"all of it: {folder.path / 'failure.json'}"


def _configuration(config: Mapping[str, Any], everything: bool, width: int) -> Iterator[str]:
    """A line for each group, 'model  mlp  width=8 depth=1 ...'; the keys of no group first."""
    shown = config if everything else _that_count(config)
    top = {key: value for key, value in shown.items() if not isinstance(value, Mapping)}
    groups = {key: value for key, value in shown.items() if isinstance(value, Mapping)}
    indent = max(map(len, (*groups, "run"))) + 2
    for name, values in {"run": top, **groups}.items():
        kind = [str(values["kind"])] if "kind" in values else []
        pairs = [
            f"{key}={value_text(value)}" for key, value in values.items() if key not in ("kind", "version")
        ]
        words = [word.replace(" ", "\0") for word in (*kind, *pairs)]  # a value is not cut at its spaces
        lines = textwrap.wrap(" ".join(words), width - indent - len(MARGIN), break_on_hyphens=False) or [""]
        for number, line in enumerate(lines):
            yield f"{name if number == 0 else '':<{indent}}{line}".replace("\0", " ").rstrip()


def _that_count(config: Mapping[str, Any]) -> dict[str, Any]:
    """The recorded values that count in the run's id; of a part of one's own all, since its class is not imported."""
    parts = [*COMPONENTS, "budget"]
    if not any(config.get(group, {}).get("_target_") for group in COMPONENTS):
        try:
            return identity_payload(recorded_config(config))
        except BadInput:
            pass  # a record of other code
    dtype = {"dtype": config.get("hardware", {}).get("dtype")}
    return {
        "seed": config.get("seed"),
        **{group: config.get(group, {}) for group in parts},
        "hardware": dtype,
    }


def _metrics(summary: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Name below its family, value at the first measurement, at the end, unit; numbers aligned at the right."""
    first = history[0] if history else {}
    # The error of a measured value stands beside it.
    errors = {name: f"{name}_standard_error" for name in summary if f"{name}_standard_error" in summary}
    families: dict[str, list[tuple[str, str, str, str]]] = {}
    for name, value in summary.items():
        if name in errors.values():
            continue
        meaning = unit(name)
        if name in errors:
            meaning += f" ± {number_text(summary[errors[name]])}"
        family, _, leaf = name.rpartition("/")
        start = number_text(first[name]) if name in first else ""
        families.setdefault(family or "counts", []).append((f"  {leaf}", start, number_text(value), meaning))
    title = ("", "at step 0" if first.get("train/step") == 0 else "first", "at the end", "")
    rows = [title, *(row for family in families.values() for row in family)]
    widths = [max(len(row[place]) for row in rows) for place in range(3)]

    def line(row: tuple[str, str, str, str]) -> str:
        name, start, end, meaning = row
        return f"{name:<{widths[0]}}  {start:>{widths[1]}}  {end:>{widths[2]}}  {meaning}".rstrip()

    yield line(title)
    for family, members in families.items():
        yield family
        yield from map(line, members)


def _curves(history: Sequence[Mapping[str, Any]], width: int, blocks: str) -> Iterator[str]:
    if len(history) < 2:
        return
    for name, logarithmic in CURVES:
        values = [row.get(name) for row in history]
        known = [v for v in values if v is not None and math.isfinite(v)]
        if known:
            drawn = sparkline(
                values, max(min(len(values), width - 50), 8), logarithmic=logarithmic, blocks=blocks
            )
            law = " (log)" if logarithmic and min(known) > 0 else ""
            yield f"{name + law:<22} {drawn}  {number_text(min(known))} to {number_text(max(known))}"
    steps = [row["train/step"] for row in history]
    yield f"{len(steps)} measurements, log-spaced, steps {steps[0]:,} to {steps[-1]:,}"


def _provenance(result: Mapping[str, Any], width: int) -> Iterator[str]:
    """What the record says of code, machine and time; a key that is new here is shown as it is."""
    known = dict(result["provenance"])
    commit, dirty = known.pop("git_commit", None), known.pop("git_dirty", None)
    packages = known.pop("packages", None) or {}
    threads, together = known.pop("threads", "?"), known.pop("population", 1)
    parts = {
        "code": f"memcap {known.pop('memcap', '?')}"
        + (f", commit {commit[:12]}{' with changes' if dirty else ''}" if commit else ", no git checkout"),
        "versions": ", ".join(
            [f"python {known.pop('python', '?')}", *(f"{k} {v}" for k, v in packages.items())]
        ),
        "trained on": f"{known.pop('device', '?')}, engine {known.pop('engine', '?')},"
        f" {_plural(threads, 'thread')}, {_plural(together, 'run')} at once",
        "time": f"{known.pop('time', '?')}, after {number_text(known.pop('wall_time_s', None))} s of wall time"
        + (" for all of them" if together != 1 else ""),
        "machine": f"{known.pop('hostname', '?')}, {known.pop('platform', '?')}",
        "data": f"fingerprint {known.pop('data_fingerprint', None) or 'not recorded'}",
    }
    parts |= {key.replace("_", " "): _recorded_text(value) for key, value in known.items() if value}
    indent = max(map(len, parts)) + 2
    for name, text in parts.items():
        # Not at hyphens: a path is to be copied.
        lines = textwrap.wrap(
            text, width - indent - len(MARGIN), break_on_hyphens=False, break_long_words=False
        )
        for number, line in enumerate(lines or [""]):
            yield f"{name if number == 0 else '':<{indent}}{line}"


def _recorded_text(value: Any) -> str:
    """A value of a record as words: 'mode offline, project memcap' for a mapping, what is null left out."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_recorded_text(v)}" for key, v in value.items() if v is not None)
    if isinstance(value, list | tuple):
        between = "; " if any(isinstance(item, Mapping) for item in value) else " "
        return between.join(map(_recorded_text, value))
    return number_text(value)


def _files(folder: RunFolder) -> Iterator[str]:
    yield f"{folder.path}/"
    files = sorted(
        path for path in folder.path.rglob("*") if path.is_file() and not path.name.startswith(".")
    )
    names = [str(path.relative_to(folder.path)) for path in files]
    for name, path in zip(names, files, strict=True):
        yield f"{MARGIN}{name:<{max(map(len, names))}}  {_size(path.stat().st_size):>8}"


def _studies(folder: RunFolder, noted: Sequence[str]) -> Iterator[str]:
    """The studies that list the run, each with the W&B run in its folder, if there is one."""
    root = folder.path.parents[2] / "studies"
    listing = [
        p.parent.name for p in sorted(root.glob("*/study.json")) if folder.run_id.encode() in p.read_bytes()
    ]
    for name in dict.fromkeys([*listing, *noted]):
        yield name
        for path in sorted((root / name / "wandb").glob(f"*run-*-{folder.run_id}*")):
            yield f"{MARGIN}W&B: {path}"


def _again(folder: RunFolder, config: Mapping[str, Any]) -> Iterator[str]:
    """The line that trains the run again; a warning where today's code makes another run of it."""
    if not config:
        return
    yield rerun_line(config, str(folder.path.parents[2]))
    if not any(config.get(group, {}).get("_target_") for group in COMPONENTS):
        try:
            now = run_id(recorded_config(config))
        except BadInput as error:
            yield f"# today's code does not take this configuration: {error}"
        else:
            if now != folder.run_id:
                yield f"# the code has changed since: today this line is the run {now}"


def _plural(number: Any, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _size(num_bytes: int) -> str:
    for factor, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {name}"
    return f"{num_bytes} B"
