"""Bad input is one line that names key, value, expectation and fix; exit status 2; nothing is created."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from memcap import train

CASES = [
    (["model.width=0"], "model.width", "0"),
    (["model.width=-3"], "model.width", "-3"),
    (["model.width=2.5"], "model.width", "2.5"),
    (["model.width=wide"], "model.width", "wide"),
    (["model.depth=-1"], "model.depth", "-1"),
    (["data.num_samples=0"], "data.num_samples", "0"),
    (["data.num_classes=1"], "data.num_classes", "1"),
    (["optimizer.learning_rate=0"], "optimizer.learning_rate", "0"),
    (["optimizer.learning_rate=-0.1"], "optimizer.learning_rate", "-0.1"),
    (["optimizer.learning_rate=nan"], "optimizer.learning_rate", "nan"),
    (["optimizer.learning_rate=abc"], "optimizer.learning_rate", "abc"),
    (["seed=-1"], "seed", "-1"),
    (["model.wdith=3"], "model.wdith", "model.width"),
    (["activation=rleu"], "activation", "relu"),
    (["nonsense=rleu"], "nonsense", "keys"),
    (["budget.steps=0"], "budget.steps", "0"),
    (["hardware.dtype=float16"], "hardware.dtype", "float32"),
    (["hardware.autocast=bfloat16", "hardware.dtype=float64"], "hardware.autocast", "autocast=none"),
    (["hardware.autocast=bfloat16", "hardware=mps"], "hardware.autocast", "autocast=none"),
    (["hardware.autocast=bfloat16", "hardware.engine=fused"], "hardware.engine", "hardware.autocast"),
    (["optimizer=lbfgs", "data.batch_size=10"], "optimizer=lbfgs", "data.batch_size=null"),
    (["optimizer=lbfgs", "schedule=cosine"], "schedule cosine", "schedule=constant"),
    (["optimizer=lbfgs", "schedule.warmup_steps=5"], "warmup_steps=5", "schedule.warmup_steps=0"),
    (["optimizer=lbfgs", "optimizer.clip_norm=1"], "optimizer.clip_norm=1", "clip_norm=null"),
    (["optimizer=lbfgs", "hardware.autocast=bfloat16"], "hardware.autocast=bfloat16", "autocast=none"),
    (["optimizer=lbfgs", "hardware.engine=fused"], "hardware.engine", "optimizer=lbfgs"),
    (["optimizer=lbfgs", "optimizer.history=0"], "optimizer.history", "0"),
    (["restart=-1"], "restart", "-1"),
    (["-m", "hydra/sweeper=capacity", "restart=0,1"], "restart", "search"),
    (["tracking.mode=sometimes"], "tracking.mode", "offline"),
    (["schedule=cosin"], "schedule", "cosine"),
    (["schedule.kind=cosin"], "schedule.kind", "cosine"),
    (["activation=formula", "activation.formula=__import__('os')"], "activation.formula", "__import__"),
    (["activation=formula", "activation.formula=x.real"], "activation.formula", "x.real"),
    (["activation=formula", "activation.formula=y*2"], "activation.formula", "y"),
    (["activation=formula", "activation.formula=x*(2"], "activation.formula", "x*(2"),
    (["paths.outputs=/dev/null/x"], "paths.outputs", "/dev/null"),
    (["-m", "model.width=8,0,16"], "model.width", 'cell 2: "model.width=0"'),
    (["-m", "zip=model.width,data.num_samples", "model.width=1,2,3", "data.num_samples=4,5"], "zip", "2"),
    (["+activation._target_=os.system", "~activation.kind"], "activation._target_", "memcap."),
    (["model.width=1000000000000"], "model.width", "GiB"),
    (["model=linear", "model.width=8"], "model.width", "linear"),
    (["-m", "model=linear", "model.width=8,16"], "model.width", "linear"),
    (["model.width=8,16"], "model.width=8,16", "-m"),
    (["zip=model.width,data.num_samples"], "zip", "-m"),
    (["-m", "tracking.mode=offline,disabled"], "tracking.mode", "cannot be swept"),
    (["-m", "model.width=3,4", "model.width=4,5"], "model.width", "swept already"),
    (
        ["data=sparse_features", "objective=squared_error", "model=autoencoder", "budget.stop=memorized"],
        "budget.stop",
        "labels",
    ),
    (["schedule.warmup_steps=9", "budget.steps=8"], "schedule.warmup_steps", "9"),
    (["launcher.wait=false"], "launcher.wait", "hydra/launcher=local"),
    (["-m", "seed=0,1", "launcher.workers=2"], "launcher.workers", "hydra/launcher=local"),
    (["paths.outputs="], "paths.outputs", "outputs"),
    (["paths.outputs=/proc/x"], "paths.outputs", "/proc/x"),
    (["tracking.mode=online"], "tracking.mode", "wandb login"),
    (["-m", "measure.points=5,24"], "measure.points", "cannot be swept"),
    (["-m", "measure=light,full"], "measure", "cannot be swept"),
    (["-m", "hardware=cpu,cuda"], "hardware", "cannot be swept"),
    (["hardware=slurm_cpu"], "hydra/launcher=slurm", "add -m"),
    (["-m", "launcher.cpus=1,2"], "launcher.cpus", "cannot be swept"),
    (["-m", "cells=missing.csv"], "cells", "missing.csv"),
    (["study=../escape"], "study", "../escape"),
    (["data.batch_size=500"], "data.batch_size", "300"),
    (["data=sparse_features"], "objective", "squared_error"),
]


def main(arguments: list[str], monkeypatch: pytest.MonkeyPatch, folder: Path) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["memcap.train", *arguments])
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    return train.main()


def check_line(text: str, key: str, hint: str) -> None:
    lines = text.strip().splitlines()
    assert 1 <= len(lines) <= 2, text
    assert lines[0].startswith("memcap: ")
    assert key in text
    assert hint in text
    assert "Traceback" not in text
    assert len(text) < 600


@pytest.mark.parametrize(("arguments", "key", "hint"), CASES, ids=[" ".join(c[0]) for c in CASES])
def test_one_line_and_status_2(
    arguments: list[str],
    key: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(arguments, monkeypatch, tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    check_line(printed.err, key, hint)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hardware=cuda"], monkeypatch, tmp_path) == 2
    check_line(capsys.readouterr().err, "hardware.device", "hardware=cpu")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("model.width;seed\n8;0\n", "separated by commas"),
        ('model.width,seed\n8,0\n"4,8",1\n', "line 3"),
        ("model.width,seed\n8,0\n[4,1\n", "line 3"),
        ("model.width,seed\n8\n", "expected 2 fields"),
        ("model.width,seed\n", "a line per cell"),
        ("tracking.mode\noffline\n", "cannot be swept"),
        ("model.width\n0\n", "cell 1"),
    ],
)
def test_a_table_that_cannot_be_read(
    content: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "cells.csv").write_text(content + "8\n" * (hint == "cell 1"))
    assert main(["-m", "cells=cells.csv"], monkeypatch, tmp_path) == 2
    check_line(capsys.readouterr().err, "", hint)
    assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]


def test_a_csv_with_an_unknown_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cells.csv").write_text("model.widht,seed\n8,0\n")
    assert main(["-m", "cells=cells.csv"], monkeypatch, tmp_path) == 2
    check_line(capsys.readouterr().err, "model.widht", "model.width")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.csv"]


def test_an_unknown_mode_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["memcap.train"])
    monkeypatch.setenv("WANDB_MODE", "loud")
    assert train.main() == 2
    check_line(capsys.readouterr().err, "WANDB_MODE", "offline")


@pytest.mark.parametrize(
    "line",
    [
        "activation=formula activation.formula='import os'",
        "-m model.width=8,0",
        "optimizer.learning_rate=abc",
    ],
)
def test_through_a_real_shell(line: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m memcap.train {line}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    check_line(done.stderr, line.split("=")[0].split()[-1], "")
    assert list(tmp_path.iterdir()) == []
