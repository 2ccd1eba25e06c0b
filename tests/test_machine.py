"""What a sweep needs of the machine is refused in one line, before anything is started or written."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import memcap
from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.machine import NEED_FLOAT64, check_device, check_machine, check_mps, check_writable

Values = Callable[..., dict[str, Any]]


def cell(run_values: Values, *overrides: str) -> Cell:
    return Cell.from_values(run_values(*overrides), overrides)


def test_a_usual_sweep_is_taken_and_nothing_is_made(run_values: Values, tmp_path: Path) -> None:
    outputs = tmp_path / "not" / "yet"
    cells = [cell(run_values, f"seed={seed}", f"paths.outputs={outputs}") for seed in range(3)]
    check_machine(cells)
    assert list(tmp_path.iterdir()) == []


def test_a_processor_is_always_there(run_values: Values) -> None:
    check_device(cell(run_values).config.hardware)


def test_an_engine_that_cannot_train_a_run_is_refused(run_values: Values, tmp_path: Path) -> None:
    parts = ("model=autoencoder", "data=sparse_features", "objective=squared_error")
    outputs = tmp_path / "outputs"
    named = [
        cell(run_values, f"hardware.engine={e}", *parts, f"paths.outputs={outputs}")
        for e in ("auto", "fused")
    ]
    check_machine(named[:1])
    with pytest.raises(
        BadInput, match=r"^hardware.engine=fused cannot train .*; use hardware.engine=auto or batched"
    ):
        check_machine(named)
    assert not outputs.exists()


def test_an_nvidia_gpu_is_asked_of_torch(run_values: Values) -> None:
    hardware = cell(run_values, "hardware=cuda").config.hardware
    if torch.cuda.is_available():
        check_device(hardware)
        return
    with pytest.raises(BadInput) as refused:
        check_device(hardware)
    assert str(refused.value) in [
        f"hardware.device must be a device of this machine, got cuda, but {reason}; use hardware=cpu"
        for reason in ("this torch is a CPU build", "no NVIDIA GPU is visible")
    ]


def test_an_apple_gpu_is_asked_of_torch(run_values: Values) -> None:
    hardware = cell(run_values, "hardware=mps").config.hardware
    if torch.backends.mps.is_available():
        check_device(hardware)
        return
    with pytest.raises(BadInput, match=r"^hardware.device must be .*, got mps; use hardware=cpu$"):
        check_device(hardware)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["hardware.dtype=float64"], "hardware.dtype must be float32 on mps, which has no float64"),
        (["measure=full"], "use measure.gradients=false measure.conflict=false"),
        (["measure=light"], "use measure.gradients=false"),
    ],
)
def test_an_apple_gpu_has_no_float64(overrides: list[str], message: str, run_values: Values) -> None:
    with pytest.raises(BadInput) as refused:
        check_mps(cell(run_values, "hardware=mps", *overrides))
    assert message in str(refused.value)


def test_an_apple_gpu_without_float64_is_taken(run_values: Values) -> None:
    check_mps(cell(run_values, "hardware=mps", *(f"measure.{name}=false" for name in NEED_FLOAT64)))
    check_mps(cell(run_values, "hardware.dtype=float64"))  # a processor


def test_a_run_that_does_not_fit_is_named_among_several(run_values: Values, tmp_path: Path) -> None:
    shared = (f"paths.outputs={tmp_path / 'outputs'}", "hardware.memory_gib=1")
    fits, large = cell(run_values, *shared), cell(run_values, *shared, "model.width=1000000")
    with pytest.raises(BadInput, match=r"GiB .*; make it smaller or raise hardware.memory_gib$"):
        check_machine([large])
    with pytest.raises(BadInput) as refused:
        check_machine([fits, large])
    assert str(refused.value).endswith(f'(cell 2: "{" ".join(large.overrides)}")')
    assert not (tmp_path / "outputs").exists()


def test_a_folder_is_needed(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "a" / "b" / "c")
    file = tmp_path / "file"
    file.touch()
    for outputs in (file, file / "below", file / "far" / "below"):
        with pytest.raises(BadInput) as refused:
            check_writable(outputs)
        assert str(refused.value) == f"paths.outputs must be a folder, got {outputs}, but {file} is a file"


def test_a_relative_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_writable(Path("outputs"))
    Path("outputs").touch()
    with pytest.raises(BadInput, match="must be a folder, got outputs, but"):
        check_writable(Path("outputs"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "folder"
        (folder / "a").mkdir(parents=True)
        yield folder
        folder.chmod(0o755)
        (folder / "a").chmod(0o755)


@pytest.mark.parametrize("mode", [0o555, 0o000], ids=["read-only", "closed"])
@pytest.mark.parametrize("below", ["", "a/b"])
def test_a_folder_without_permission_is_refused(mode: int, below: str, folder: Path) -> None:
    (folder / "a").chmod(mode)
    folder.chmod(mode)
    told = refusal(folder / below)
    assert told.startswith(f"paths.outputs must be a folder that can be written, got {folder / below}: ")
    assert told.endswith(" is read-only")


def test_a_folder_with_permission_is_taken(folder: Path) -> None:
    (folder / "a").chmod(0o777)
    assert refusal(folder / "a" / "b") == ""


def refusal(outputs: Path) -> str:
    """What a user without privileges is told; root may write anywhere."""
    # Imported before privileges are dropped: the package may lie where others cannot read.
    drop = "os.setgid(65534)\nos.setuid(65534)\n" if os.getuid() == 0 else ""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom memcap.errors import BadInput\n"
        f"from memcap.machine import check_writable\n{drop}"
        "try:\n    check_writable(Path(sys.argv[1]))\nexcept BadInput as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(outputs)]
    where = {**os.environ, "PYTHONPATH": str(Path(memcap.__file__).parents[1])}
    return subprocess.run(command, env=where, capture_output=True, text=True, check=True).stdout.strip()
