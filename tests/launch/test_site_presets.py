"""Options of ``launcher`` and ``hardware`` for clusters: what they choose, where they may stand, who wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra_plugins.memcap.composition import CellComposer
from omegaconf import OmegaConf

from memcap.config.identity import run_id
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput
from memcap.submission.options import LauncherOptions

CONF = Path(__file__).resolve().parents[2] / "conf"
PRESETS = sorted(path.stem for path in (CONF / "launcher").glob("*.yaml"))
SITE = "defaults: [slurm_cpu]\npartition: rome\naccount: abc\nsetup: [module load x]\nextra: {nice: 100}\n"


@pytest.fixture
def app(application: Callable[..., Any]) -> Any:
    return application()


def options_of(master: Any) -> LauncherOptions:
    values: Any = OmegaConf.to_container(master.launcher, resolve=True)
    return LauncherOptions.from_dict(values)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_holds_valid_options(preset: str, app: Any) -> None:
    options_of(app.master(f"launcher={preset}"))


@pytest.mark.parametrize(
    ("hardware", "device", "gpus"), [("slurm_cpu", "cpu", None), ("slurm_gpu", "cuda", 1)]
)
def test_hardware_chooses_launcher_task_and_device(
    hardware: str, device: str, gpus: int | None, app: Any
) -> None:
    master = app.master(f"hardware={hardware}")
    assert master.hydra.launcher._target_.endswith(".SlurmLauncher")
    assert (master.hardware.device, options_of(master).gpus) == (device, gpus)
    assert options_of(master).cpus is not None


def test_a_cell_composes_as_hydra_composes_it(app: Any) -> None:
    master = app.master("hardware=slurm_gpu", "launcher.gpus=2")
    composer = CellComposer(app.hydra.config_loader, master)
    cell = ["hardware=slurm_gpu", "launcher.gpus=2", "model=linear", "seed=3"]
    expected: Any = OmegaConf.to_container(app.hydra.config_loader.load_sweep_config(master, cell))
    del expected["hydra"]
    values = composer.compose(cell)
    assert values == expected
    assert (values["hardware"]["device"], values["launcher"]["gpus"]) == ("cuda", 2)
    assert composer.foreign_launchers() == []


@pytest.mark.parametrize("hardware", ["slurm_cpu", "slurm_gpu"])
def test_where_a_run_trains_is_not_in_its_id(hardware: str, app: Any) -> None:
    composer = CellComposer(app.hydra.config_loader, app.master())
    here, there = (RunConfig.from_dict(composer.compose([f"hardware={h}"])) for h in ("cpu", hardware))
    assert run_id(there) == run_id(here)


def test_a_site_has_a_file_of_its_own_and_the_command_line_wins(
    app: Any, application: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "launcher").mkdir()
    (tmp_path / "launcher" / "rome.yaml").write_text(SITE)
    where = f"hydra.searchpath=[file://{tmp_path}]"
    master = app.master(where, "launcher=rome", "hardware=slurm_cpu", "launcher.account=other")
    options = options_of(master)
    assert (options.partition, options.account, options.cpus) == ("rome", "other", 2)
    assert (options.setup, options.extra) == (("module load x",), {"nice": "100"})
    assert master.hydra.launcher._target_.endswith(".SlurmLauncher")


@pytest.mark.parametrize(
    "swept", ["hardware=slurm_cpu,cpu", "launcher=slurm_cpu,slurm_gpu", "launcher.cpus=1,2"]
)
def test_a_sweep_has_one_launcher(swept: str, app: Any) -> None:
    with pytest.raises(BadInput, match="cannot be swept, it is the same for the whole sweep"):
        app.multirun(swept)
    assert not app.task.batches


def test_a_swept_preset_that_brings_a_launcher_is_refused(
    application: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "experiment").mkdir()
    for name, hardware in (("here", "cpu"), ("there", "slurm_cpu")):
        text = f"# @package _global_\ndefaults: [override /hardware: {hardware}]\n"
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    where, app = f"hydra.searchpath=[file://{tmp_path}]", application()
    with pytest.raises(BadInput, match="experiment=there brings a launcher of its own"):
        app.multirun(where, "experiment=here,there")
    assert app.master(where, "experiment=there").hydra.launcher._target_.endswith(".SlurmLauncher")
