"""memcap among other things in one process: threads, another Hydra, interrupts, notebooks."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from api_cases import SMALL
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.version import VersionBase

import memcap

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
