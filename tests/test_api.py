"""memcap in Python: the same runs and studies as the command line's, and what one has in hand afterwards."""

from __future__ import annotations

import concurrent.futures
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from compositions import CONF, composed_config, leaves
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase

import memcap
from memcap.api import LISTS, as_overrides

SMALL = "budget.steps=4 budget.check_every=2 measure.points=2 tracking=disabled"
SMALL += " data.num_samples=12 measure.sharpness=false measure.evaluation=false measure.gradients=false"
RUNS = [
    "",
    "model.width=4 seed=3",
    "activation=formula 'activation.formula=x * max(x, 0)'",
    "model=linear optimizer=sgd optimizer.clip_norm=1",
    "experiment=linear",
    "study=mine model.depth=2 +hydra.job.env_set.A=b",
]
SWEEPS = [
    "model.width=4,5 seed=0,1",
    "zip='model.width,data.input_dim' model.width=4,5 data.input_dim=3,4",
    "experiment=linear data.input_dim=3,4 data.num_classes=5",
    "cells=cells.csv model.depth=2",
    "activation=formula activation.formula='x*sin(x),max(x, 0)'",
    "optimizer=adam,sgd optimizer.learning_rate=0.02",
    "seed=range(2) schedule=choice(cosine)",
    "model.width=4",
]
EVERYTHING = """
import shlex, sys
from memcap.train import main
for line in sys.stdin.read().splitlines():
    sys.argv[1:] = shlex.split(line)
    assert main() == 0, line
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("MODE", "PROJECT", "ENTITY"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    (tmp_path / "cells.csv").write_text("model.width,seed\n4,1\n5,\n")
    return tmp_path


def recorded(outputs: Path) -> set[str]:
    """All that identifies what was trained: run ids, and each study with its runs."""
    runs = {path.name for path in outputs.glob("runs/*/*")}
    studies = {path.parent.name for path in outputs.glob("studies/*/study.json")}
    return runs | studies


def test_ids_and_studies_are_those_of_the_command_line(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{text} {SMALL}" for text in RUNS] + [f"-m {text} {SMALL}" for text in SWEEPS]
    subprocess.run(
        [sys.executable, "-c", EVERYTHING], input="\n".join(lines), text=True, check=True, cwd=here
    )
    by_command_line = recorded(here / "outputs")
    for text in RUNS:
        run = memcap.run(f"{text} {SMALL}")
        assert run.status == "finished"
        assert "1 skipped" in capsys.readouterr().out
    for text in SWEEPS:
        table = memcap.sweep(f"{text} {SMALL}")
        assert f"{len(table)} skipped" in capsys.readouterr().out
    assert recorded(here / "outputs") == by_command_line


def test_a_run_in_hand(here: Path) -> None:
    run = memcap.run(
        {"model.width": 6, "budget.steps": 30, "activation": "sin", "activation.frequency": 1.5},
        seed=1,
        tracking="disabled",
        hardware={"dtype": "float64"},
        data={"num_samples": 25, "input_dim": 4},
    )
    assert run.status == "finished"
    assert (run.stop_reason, run.error) == ("budget", None)
    assert run.config.model.width == 6  # type: ignore[attr-defined]
    assert run.config.data.num_samples == 25
    assert list(run.history.index[[0, -1]]) == [0, 30]
    assert run.history["memory/bits"].iloc[-1] == run.summary["memory/bits"]
    assert run.data.inputs_ND.shape == (25, 4)
    assert sorted(run.evaluation_sets) == ["null", "test"]
    assert run.weights["hidden1.weight"].shape == (4, 6)
    logits_NV = run.model(run.data.inputs_ND)
    picked_N = logits_NV[np.arange(25), run.data.targets_N]
    losses_N = np.log(np.exp(logits_NV).sum(1)) - picked_N
    np.testing.assert_allclose(losses_N, run.arrays("samples")["final_loss"], rtol=1e-10)
    test = run.evaluation_sets["test"]
    test_NV = torch.from_numpy(run.model(test.inputs_ND))
    loss = torch.nn.functional.cross_entropy(test_NV, torch.from_numpy(test.targets_N)).item()
    assert loss == pytest.approx(run.summary["eval/test/loss_nats"], rel=1e-10)
    assert repr(run).startswith(f"<Run {run.run_id} finished: bits ")
    assert "paths.outputs" not in run.command
    again = memcap.load_run(run.run_id[:5])
    assert again.summary == run.summary
    assert again.run_id == run.run_id


@pytest.mark.parametrize("name", ["data", "evaluation_sets"])
def test_other_data_than_the_recorded_are_refused(name: str, here: Path) -> None:
    run = memcap.run(SMALL)
    record = json.loads((run.path / "result.json").read_text(encoding="utf-8"))
    record["provenance"]["data_fingerprint"] = "0" * 16
    (run.path / "result.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(memcap.BadInput, match=r"its data cannot be drawn again.* recorded 0000000000000000"):
        getattr(memcap.load_run(run.path), name)


@pytest.mark.parametrize("overrides", ["model=linear", "model.depth=3 model.residual=true model.bias=true"])
def test_the_model_is_the_network_that_was_trained(overrides: str, here: Path) -> None:
    run = memcap.run(f"{overrides} {SMALL} hardware.dtype=float64")
    logits_NV = torch.from_numpy(run.model(run.data.inputs_ND))
    targets_N = torch.from_numpy(run.data.targets_N)
    loss_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    np.testing.assert_allclose(loss_N, run.arrays("samples")["final_loss"], rtol=1e-10)


def test_an_autoencoder_reconstructs(here: Path) -> None:
    run = memcap.run(f"experiment=sparse_autoencoder {SMALL} data.num_samples=null data.batch_size=8")
    outputs_NF = run.model(run.data.inputs_ND)
    assert outputs_NF.shape == run.data.inputs_ND.shape
    loss_N = ((outputs_NF - run.data.targets_N) ** 2).mean(1)
    assert loss_N.shape == run.arrays("samples")["final_loss"].shape


def test_torch_inputs_give_torch_outputs_with_gradients(here: Path) -> None:
    run = memcap.run(SMALL)
    inputs_ND = torch.tensor(run.data.inputs_ND, requires_grad=True)
    logits_NV = run.model(inputs_ND)
    logits_NV.sum().backward()
    assert isinstance(logits_NV, torch.Tensor)
    assert inputs_ND.grad is not None
    assert inputs_ND.grad.abs().sum() > 0
    np.testing.assert_array_equal(logits_NV.detach().numpy(), run.model(run.data.inputs_ND))
    with pytest.raises(memcap.BadInput, match=r"inputs must be \[N, 10\], got \[3\]"):
        run.model(np.zeros(3))


def test_a_sweep_is_a_table_of_its_own_rows(here: Path) -> None:
    wide = memcap.sweep({"model.width": np.array([4, 5])}, seed=range(2), **as_keys(SMALL))
    assert list(zip(wide["model.width"], wide["seed"], strict=True)) == list(
        itertools.product([4, 5], [0, 1])
    )
    assert wide.attrs["axes"] == ["model.width", "seed"]
    assert wide.attrs["failed"] == {}
    narrow = memcap.sweep({"model.width": [5]}, seed=(1, 0), **as_keys(SMALL))
    assert list(narrow["run_id"]) == [wide["run_id"][3], wide["run_id"][2]]
    assert narrow.attrs["study"] == wide.attrs["study"]
    assert len(memcap.load_study(wide.attrs["study"])) == 4


def as_keys(line: str) -> dict[str, Any]:
    """Overrides as keywords; their values as YAML reads them."""
    import yaml

    pairs = [text.partition("=") for text in shlex.split(line)]
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def test_a_failed_run_is_raised_and_a_failed_cell_reported(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "broken_of_api.py").write_text(BROKEN)
    sys.path.insert(0, str(here))
    try:
        own = [
            "+activation._target_=broken_of_api.Broken",
            "+activation.at=3",
            "allow_targets=[broken_of_api]",
        ]
        fixed = [*SMALL.split(), *own]
        with pytest.raises(memcap.RunFailed, match=r"failed: ArithmeticError: at 3 .*load_run"):
            memcap.run([*fixed, "model.width=3"])
        table = memcap.sweep([*fixed, "model.width=3,4"])
        assert list(table["model.width"]) == [4]
        ((run_id, error),) = table.attrs["failed"].items()
        assert error.startswith("ArithmeticError: at 3")
        failed = memcap.load_run(run_id)
        assert (failed.status, failed.summary, failed.error) == ("failed", {}, "ArithmeticError: at 3")
        with pytest.raises(memcap.BadInput, match="has no arrays 'weights'; it has: none"):
            _ = failed.model
        failed.show()
        assert "ArithmeticError" in capsys.readouterr().out
        with pytest.raises(memcap.RunFailed, match=r"no run of study .* has a result"):
            memcap.sweep([*fixed, "model.width=3", "seed=5,6"])
    finally:
        sys.path.remove(str(here))


BROKEN = """
from dataclasses import dataclass
from memcap.config.fields import counts
from memcap.config.schema import ActivationConfig

class Broken:
    @dataclass(frozen=True, kw_only=True)
    class Config(ActivationConfig):
        kind = "broken"
        at: int = counts(at_least=1)

    def __init__(self, config, values):
        self.at = config.at

    def __call__(self, x):
        if x.shape[-1] == self.at:
            raise ArithmeticError(f"at {self.at}")
        return x
"""


@pytest.mark.parametrize(
    ("function", "overrides", "message"),
    [
        ("run", "model.widht=8", r"model.widht is not a key of model=mlp \(did you mean model.width\?\)"),
        ("run", "seed=0,1", "seed=0,1 gives several values to one run; memcap.sweep trains them all"),
        ("run", "cells=cells.csv", "cells=cells.csv makes several runs; memcap.sweep trains them all"),
        ("run", "-m seed=0,1", "-m is a flag of the command line"),
        ("run", ["seed=1", 3], "overrides must be text like model.width=8, got 3"),
        ("run", {"seed": -1}, "seed must be a whole number ≥ 0"),
        ("run", {"seed": [0, 1]}, "seed must be a whole number"),
        ("run", "seed", 'expected key=value, got "seed"'),
        ("sweep", {"seed": []}, "seed is a sweep over no values"),
        ("sweep", "seed=0,-1", r'seed must be a whole number ≥ 0 and .*, got -1 \(cell 2: "seed=-1"\)'),
        ("sweep", "zip=seed,model.width seed=0,1", "model.width is not swept"),
        ("sweep", "model=nothing", "model has no option nothing"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    function: str, overrides: Any, message: str, here: Path
) -> None:
    with pytest.raises(memcap.BadInput, match=message) as caught:
        getattr(memcap, function)(overrides)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert not (here / "outputs").exists()


THREADS = """
import sys
import memcap
memcap.run(sys.argv[1])
import torch
after = torch.get_num_threads()
torch.set_num_threads(3)
memcap.run(sys.argv[1] + " seed=1")
print(after, torch.get_num_threads())
"""


def test_torch_has_its_own_number_of_threads_afterwards(here: Path) -> None:
    """Also where it was not imported before, so that there was no number to keep."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", THREADS, SMALL],
        capture_output=True, text=True, cwd=here, check=True, env=environment,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "2 3"


def test_options_of_ones_own_in_a_folder(here: Path) -> None:
    (here / "my_conf" / "model").mkdir(parents=True)
    text = (CONF / "model" / "mlp.yaml").read_text().replace("width: 16", "width: 7")
    (here / "my_conf" / "model" / "tiny.yaml").write_text(text)
    assert memcap.run(f"model=tiny {SMALL}", config_dir="my_conf").config.model.width == 7  # type: ignore[attr-defined]
    (study,) = here.glob("outputs/studies/*/study.json")
    command = json.loads(study.read_text(encoding="utf-8"))["command"]
    assert command == f"memcap.run('model=tiny {SMALL}', config_dir='my_conf')"
    with pytest.raises(memcap.BadInput, match="config_dir must be a folder, got nowhere"):
        memcap.run(config_dir="nowhere")


def test_it_works_inside_of_another_hydra_and_leaves_it_alone(here: Path) -> None:
    (here / "theirs").mkdir()
    (here / "theirs" / "app.yaml").write_text("x: 1\nname: ${hydra:job.name}\n")
    threads = torch.get_num_threads()
    with initialize_config_dir(str(here / "theirs"), version_base="1.2"):
        outer, base = GlobalHydra.instance().hydra, VersionBase.instance().getbase()
        HydraConfig.instance().set_config(compose("app", return_hydra_config=True))
        theirs = HydraConfig.instance().cfg
        memcap.run(SMALL)
        with pytest.raises(memcap.BadInput):
            memcap.sweep("model.widht=1,2")
        memcap.sweep(f"seed=0,1 {SMALL}")
        assert GlobalHydra.instance().hydra is outer
        assert HydraConfig.instance().cfg is theirs
        assert VersionBase.instance().getbase() == base
        assert compose("app").x == 1
    assert not GlobalHydra.instance().is_initialized()
    assert torch.get_num_threads() == threads


def test_wandbs_variables_hold_as_on_the_command_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "it's mine")
    assert memcap.run(SMALL).config.tracking.project == "it's mine"


@pytest.mark.parametrize(
    ("value", "one", "several"),
    [
        (8, ["k=8"], ["k=8"]),
        (None, ["k=null"], ["k=null"]),
        (True, ["k=true"], ["k=true"]),
        (1e-5, ["k=1e-05"], ["k=1e-05"]),
        (np.float64(0.5), ["k=0.5"], ["k=0.5"]),
        ("a b", ["k='a b'"], ["k='a b'"]),
        ([1, 2], ["k=[1,2]"], ["k=1,2"]),
        (("a,b", None), ["k=['a,b',null]"], ["k='a,b',null"]),
        ([np.int64(3)], ["k=[3]"], ["k=choice(3)"]),
        (torch.arange(2), ["k=[0,1]"], ["k=0,1"]),
        ({"a": 1, "b": {"c": [2, 3]}}, ["k.a=1", "k.b.c=[2,3]"], ["k.a=1", "k.b.c=2,3"]),
    ],
)
def test_values_become_overrides(value: Any, one: list[str], several: list[str]) -> None:
    assert as_overrides((), {"k": value}, several=False) == one
    assert as_overrides({"k": value}, {}, several=True) == several


def test_a_key_that_takes_a_list_is_not_swept_over_it(here: Path) -> None:
    given = {"allow_targets": ["my_parts"], "tracking": {"tags": ["a", "b"]}, "seed": [0, 1]}
    assert as_overrides(given, {}, several=True) == [
        "allow_targets=[my_parts]", "tracking.tags=[a,b]", "seed=0,1"
    ]  # fmt: skip
    config = composed_config()
    known = [leaf for identity in ("counts", "ignored") for leaf in leaves(config, identity)]
    assert {leaf.key for leaf in known if isinstance(leaf.value, tuple)} == set(LISTS)


def test_the_package_names_what_it_has() -> None:
    assert {"run", "sweep", "load_run", "load_study", "Run", "BadInput", "RunFailed"} <= set(dir(memcap))
    with pytest.raises(AttributeError, match="has no attribute 'runs'"):
        _ = memcap.runs  # type: ignore[attr-defined]


INTERRUPTED = """
import memcap
fixed = {"tracking": "disabled", "measure.sharpness": False, "measure.points": 2, "hardware.max_members": 1}
try:
    memcap.sweep({"budget.steps": [20, 1000000], "seed": [0], **fixed})
except KeyboardInterrupt:
    print("stopped")
table = memcap.load_study(next(iter(__import__("pathlib").Path("outputs/studies").iterdir())).name)
print(list(table["steps"]), memcap.run({"budget.steps": 20, **fixed}).status)
"""


def test_an_interrupt_leaves_what_is_finished(here: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, text=True, cwd=here
    )
    deadline = time.monotonic() + 60
    while len(list((here / "outputs").glob("runs/*/*/history.jsonl"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "1 finished, 1 interrupted" in printed
    assert "stopped" in printed
    assert "1 skipped" in printed
    assert printed.endswith("[20] finished\n")


def test_it_works_outside_of_the_main_thread(here: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        assert threads.submit(memcap.run, SMALL).result().status == "finished"


def test_a_notebook_shows_bad_input_as_one_line(here: Path) -> None:
    pytest.importorskip("IPython", reason="pip install ipykernel")
    shell = "from IPython.core.interactiveshell import InteractiveShell as Shell"
    code = f"{shell}; Shell().run_cell('import memcap; memcap.run([3])')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here, check=True)
    assert (
        done.stdout.strip()
        == "memcap: overrides must be text like model.width=8, got 3; a mapping takes values"
    )
