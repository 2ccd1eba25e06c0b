"""Imports go downward only.

The order below is documentation: a new module finds its place in it, or moves it on purpose. Each line may
import the lines above it; names on one line do not know each other. ``memcap.config`` names the classes that do
the work as text and imports them at the last moment (``memcap.config.implementation``), so that nothing heavy
stands between a command and its first error message.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("errors",),
    ("config", "random"),
    ("oracle",),  # exact answers for linear models; no training
    ("data", "models", "objectives", "optimizers"),
    ("batch",),
    ("population", "grouping"),
    ("engines",),
    ("measures",),
    ("budget",),
    ("outcome",),
    ("records",),
    ("study",),  # reads records; knows nothing of training
    ("study_command",),
    ("show", "compare"),
    ("search",),  # what to ask for next; knows nothing of training either
    ("plot",),  # figures of comparisons
    ("compare_command", "oracle_command"),
    ("training",),
    ("checkpoint",),
    ("machine", "environment", "explanations", "interruption"),
    ("sync", "dashboard"),  # commands; the work is in records
    ("command_line",),
    ("ledger",),
    ("remeasuring", "backlog", "listing", "resumption"),
    ("pack_recorder",),
    ("study_run",),
    ("finished_cells",),
    ("cells",),  # what callers see: it imports study_run, and with it torch, when it starts
    ("submission",),  # the same for others: packed, handed over, watched
    ("status", "cancel", "resume", "studies"),
    ("train", "measure"),
    ("hydra_session",),
    ("api",),
    ("anchors",),  # known answers, measured by the same calls as anybody's
    ("leaderboard",),  # asks for runs in rounds, ranks what they give
    ("__main__",),
    ("hydra_plugins",),  # launcher and sweeper: found by Hydra, imported by nobody
)
# Commands that use what stands above the rest of their package.
COMMANDS = {
    "compare/__main__.py": "compare_command",  # has figures drawn
    "oracle/__main__.py": "oracle_command",  # reads studies and prints tables
    "oracle/report.py": "oracle_command",
    "oracle/exact_columns.py": "oracle_command",  # columns of a comparison's table
}
# Hydra composes; below the command line a configuration is a RunConfig.
KNOW_HYDRA = {"train", "measure", "hydra_session", "command_line", "explanations", "hydra_plugins"}


class Import(NamedTuple):
    """One import statement: who, what (``memcap.data.order``), and whether it runs with the module."""

    source: Path
    line: int
    target: str
    at_once: bool


def files() -> list[Path]:
    return sorted([*(ROOT / "memcap").rglob("*.py"), *(ROOT / "launch" / "hydra_plugins").rglob("*.py")])


def unit(path: Path) -> str:
    """The line's name of a file: 'data' for memcap/data/order.py, '' for memcap/__init__.py."""
    if not path.is_relative_to(ROOT / "memcap"):
        return "hydra_plugins"
    of_commands = COMMANDS.get(path.relative_to(ROOT / "memcap").as_posix())
    if of_commands is not None:
        return of_commands
    first = path.relative_to(ROOT / "memcap").parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def unit_of_target(target: str) -> str | None:
    """The same for a dotted name; None for other people's packages."""
    top, *rest = target.split(".")
    if top == "hydra_plugins":
        return top
    if top != "memcap":
        return None
    known = rest and ((ROOT / "memcap" / rest[0]).is_dir() or (ROOT / "memcap" / f"{rest[0]}.py").exists())
    return rest[0] if known else ""


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, also those inside functions and under TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    later = {
        id(inner)
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        at_once = id(node) not in later
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(path, node.lineno, alias.name, at_once)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            for alias in node.names:
                yield Import(path, node.lineno, f"{node.module}.{alias.name}", at_once)


def upward(found: Import) -> bool:
    """Whether an import goes against the order."""
    place = {name: number for number, names in enumerate(LAYERS) for name in names}
    source, target = unit(found.source), unit_of_target(found.target)
    if target is None or target == source:
        return False
    if source == "":  # memcap/__init__.py: the package's names, each imported when it is asked for
        return found.at_once
    if target == "":
        return found.target != "memcap.__version__"
    return place[target] >= place[source]


def test_every_module_has_its_place() -> None:
    units = {unit(path) for path in files()} - {""}
    assert units == {name for names in LAYERS for name in names}, "add the module to LAYERS, where it belongs"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_downward(path: Path) -> None:
    assert [f"line {found.line}: {found.target}" for found in imports(path) if upward(found)] == []


@pytest.mark.parametrize(
    ("source", "target", "wrong"),
    [
        ("config/schema.py", "memcap.models.mlp.Mlp", True),
        ("data/order.py", "memcap.random.stream", False),
        ("data/order.py", "memcap.models", True),
        ("study/load.py", "memcap.training.train_population", True),
        ("study/load.py", "memcap.records.atomic", False),
        ("cells.py", "memcap.study_run.StudyRun", False),
        ("records/atomic.py", "memcap.records.table", False),
        ("records/provenance.py", "memcap.__version__", False),
        ("records/provenance.py", "memcap.sweep", True),
        ("random.py", "torch.nn", False),
    ],
)
def test_what_goes_upward_is_seen(source: str, target: str, wrong: bool) -> None:
    assert upward(Import(ROOT / "memcap" / source, 1, target, True)) == wrong


def test_the_package_itself_imports_nothing() -> None:
    found = [found.target for found in imports(ROOT / "memcap" / "__init__.py") if found.at_once]
    assert found == ["__future__.annotations", "typing.TYPE_CHECKING", "typing.Any"]


def test_cells_start_their_work_late() -> None:
    (found,) = [i for i in imports(ROOT / "memcap" / "cells.py") if i.target.startswith("memcap.study_run")]
    assert not found.at_once


def test_hydra_is_known_at_the_command_line_only() -> None:
    tops = ("hydra", "omegaconf")
    knowing = {unit(path) for path in files() for i in imports(path) if i.target.split(".")[0] in tops}
    assert knowing <= KNOW_HYDRA


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("memcap", "torch numpy wandb pandas scipy hydra omegaconf matplotlib memcap.api"),
        ("memcap.api", "torch wandb pandas scipy matplotlib"),
        ("memcap.config.run_config", "torch numpy wandb pandas scipy hydra omegaconf matplotlib"),
        ("memcap.config.identity", "torch numpy wandb pandas scipy hydra omegaconf matplotlib"),
        ("memcap.config.cell", "torch numpy wandb pandas scipy hydra omegaconf matplotlib"),
        ("memcap.machine", "torch numpy wandb pandas scipy hydra omegaconf matplotlib"),
        ("memcap.show", "torch wandb pandas scipy hydra omegaconf matplotlib rich"),
        ("memcap.status", "torch wandb pandas scipy hydra omegaconf matplotlib submitit rich"),
        (
            "memcap.submission.status_page",
            "torch wandb pandas scipy hydra omegaconf matplotlib submitit rich",
        ),
        ("memcap.compare.__main__", "torch wandb pandas scipy hydra omegaconf matplotlib rich"),
        ("memcap.compare.comparison", "torch wandb hydra omegaconf matplotlib rich"),
        ("memcap.compare.report.page", "torch wandb hydra omegaconf matplotlib rich plotly"),
        ("memcap.sync", "torch wandb pandas scipy hydra omegaconf matplotlib rich"),
        ("memcap.dashboard", "torch wandb pandas scipy hydra omegaconf matplotlib rich"),
        ("memcap.study.run_page", "torch wandb pandas scipy hydra omegaconf matplotlib rich"),
        ("memcap.train", "torch numpy wandb pandas scipy matplotlib"),
        ("memcap.leaderboard.board", "torch wandb pandas scipy matplotlib"),
        ("memcap.cells", "torch numpy wandb pandas scipy matplotlib"),
        ("hydra_plugins.memcap.launcher", "torch numpy wandb pandas scipy matplotlib"),
        ("hydra_plugins.memcap.sweeper", "torch numpy wandb pandas scipy matplotlib"),
        ("hydra_plugins.memcap.search_space", "torch numpy wandb pandas scipy matplotlib"),
        ("hydra_plugins.memcap.search_sweeper", "torch numpy wandb pandas scipy matplotlib"),
    ],
)
def test_a_start_is_light(module: str, absent: str) -> None:
    """Torch takes 1.6 s to import: help, completion and a typo's message must not wait for it."""
    code = f"import sys, {module}; print(*sorted(set({absent.split()!r}) & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "launch")])}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=where)
    assert ran.stdout.strip() == ""
