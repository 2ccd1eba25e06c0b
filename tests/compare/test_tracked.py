"""A comparison as one W&B run: the real client, offline and against the stand-in of the server."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from comparison_cases import synthetic_frame
from compositions import composed_config
from wandb_files import offline_runs
from wandb_server import KEY, Server, running_server

from memcap import cells as training
from memcap.compare import tracked, tracked_content
from memcap.compare.__main__ import main
from memcap.compare.comparison import Comparison, compare, write
from memcap.compare.tracked import TrackedComparison
from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.records import wandb_client

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c636060606000000005000175a8a8b40000000049454e44ae426082"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """This process as one that has a server's address and a key for it."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with running_server() as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        wandb_client.end_service()
        yield server
        wandb_client.end_service()


def comparison(
    bits_per_neuron: float = 20.0, widths: tuple[int, ...] = (4, 8, 16), **changes: Any
) -> Comparison:
    """Capacities that are proportional to the width, but for the noise of the seeds."""
    frame = synthetic_frame(
        widths=widths, bits=lambda w, n, s, r: bits_per_neuron * w * (1 - abs(n - 150) / 300) + s, **changes
    )
    frame.attrs["studies"] = ["widths"]
    return compare(frame)


def log(made: Comparison, folder: Path, mode: str, **place: Any) -> str | None:
    """Writes the files with a figure, as the command does, and logs them."""
    run = TrackedComparison(made, folder, mode, **place)
    files = write(made, folder)
    (folder / "figures").mkdir(exist_ok=True)
    (folder / "figures" / "capacity.png").write_bytes(PNG)
    return run.log(made, [*files, folder / "figures" / "capacity.png"])


def test_comparing_again_goes_on_in_the_one_run(
    here: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = comparison(), comparison(30.0, (4, 8, 16, 32))
    place = log(first, tmp_path / "compare", "online", project="p")
    ((wandb_id, run),) = here.runs.items()
    assert place == f"{here.url}/someone/p/runs/{wandb_id}"
    assert (run["name"], run["group"], run["job_type"], run["exit"]) == (
        "compare widths",
        "widths",
        "compare",
        0,
    )
    slope = run["summary"]["fit/slope"]
    assert run["summary"]["fit/slope_low"] < slope < run["summary"]["fit/slope_high"]
    assert log(second, tmp_path / "compare", "online", project="p") == place
    assert list(here.runs) == [wandb_id]
    assert [row["compare/runs"] for row in run["rows"]] == [60, 80]
    assert [row["compare/capacity"]["nrows"] for row in run["rows"]] == [3, 4]
    assert all(row["figures/capacity"]["_type"] == "image-file" for row in run["rows"])
    assert run["summary"]["num_configurations"] == 4
    assert run["summary"]["fit/slope"] == pytest.approx(1.5 * slope, rel=0.1)
    assert run["config"]["studies"]["value"] == ["widths"]
    assert here.requests.count("CreateArtifact") == 6  # two tables and the files, twice
    assert not (tmp_path / "compare" / "wandb").exists()
    assert capsys.readouterr().err == ""


def test_fits_of_an_earlier_comparison_do_not_stay(here: Server, tmp_path: Path) -> None:
    log(of_two_activations(), tmp_path, "online", project="p")
    ((_, run),) = here.runs.items()
    earlier = {key for key in run["summary"] if key.startswith("fit/activation.kind=silu/")}
    assert len(earlier) >= 4
    log(comparison(), tmp_path, "online", project="p")
    assert len(here.runs) == 1
    assert run["summary"]["fit/slope"] > 0
    assert {run["summary"].get(key) for key in earlier} == {None}


def test_what_makes_the_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wandb_id(y: str = "bits", **attrs: Any) -> str:
        frame = comparison().frame
        frame.attrs |= attrs
        made = TrackedComparison(compare(frame, y=y), tmp_path / "compare", "offline")
        return made.wandb_id

    ids = [
        wandb_id(), wandb_id("samples"), wandb_id(studies=["depths"]), wandb_id(source="wandb:a/b"),
        wandb_id(studies=[], outputs="/one"), wandb_id(studies=[], outputs="/other"),
    ]  # fmt: skip
    assert len(set(ids)) == len(ids)
    assert wandb_id(outputs="/other") == wandb_id(), "a study is the same wherever its folder lies"
    monkeypatch.chdir(tmp_path)
    assert wandb_id(studies=[], outputs="here") == wandb_id(studies=[], outputs=str(tmp_path / "here"))


def test_offline_the_last_comparison_takes_the_place_of_the_one_before(here: Server, tmp_path: Path) -> None:
    log(comparison(), tmp_path, "offline")
    (first,) = tmp_path.glob("wandb/offline-run-*")
    time.sleep(1.1)  # the client's folders have the second in their name
    place = log(comparison(widths=(4, 8)), tmp_path, "offline")
    ((wandb_id, run),) = offline_runs(tmp_path).items()
    (second,) = tmp_path.glob("wandb/offline-run-*")
    assert (place, first.exists()) == (str(second), False)
    assert [row["compare/runs"] for row in run.history] == [40]
    assert len(list(tmp_path.glob("wandb/data/artifacts/staging/*"))) < 20  # of one comparison
    assert log(comparison(), tmp_path, "auto") == f"{here.url}/someone/memcap/runs/{wandb_id}"
    assert not (tmp_path / "wandb").exists(), "what the server has would be sent again by `wandb sync`"


@pytest.mark.slow
def test_a_deleted_run_is_left_deleted(here: Server, tmp_path: Path) -> None:
    wandb_id = TrackedComparison(comparison(), tmp_path, "offline").wandb_id
    here.deleted = {wandb_id}
    for _ in range(2):
        log(comparison(), tmp_path, "online")
    assert list(here.runs) == [f"{wandb_id}-2"]


@pytest.mark.parametrize("trouble", ["hang", "drop", 403])
def test_trouble_costs_one_line_and_no_file(
    trouble: Any,
    here: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tracked, "TIMEOUT_S", 6.0)
    made = comparison()
    run = TrackedComparison(made, tmp_path, "online")
    files = write(made, tmp_path)
    here.trouble = trouble
    started = time.monotonic()
    assert run.log(made, files) is None
    assert time.monotonic() - started < 20
    assert all(path.exists() for path in files)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("memcap: W&B: ")


def of_two_activations() -> Comparison:
    """The same with relu, and silu that stores twice as much."""
    table = comparison().frame
    both = table.assign(**{"activation.kind": "relu"})
    other = table.assign(**{"activation.kind": "silu", "memory/bits": table["memory/bits"] * 2})
    frame = pd.concat([both, other], ignore_index=True)
    frame.attrs = {"studies": ["widths"], "axes": ["activation", *table.attrs["axes"]]}
    return compare(frame, x="model.width")


def test_lines_have_their_fits() -> None:
    made = of_two_activations()
    found = tracked_content.summary(made)
    slopes = [found[f"fit/activation.kind={name}/slope"] for name in ("relu", "silu")]
    assert slopes[1] == pytest.approx(2 * slopes[0])
    json.dumps(tracked_content.description(made))


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two runs, really trained."""
    outputs = tmp_path_factory.mktemp("tracked") / "outputs"
    fixed = ("budget.steps=10", "measure=light", "measure.points=2", "tracking=disabled", "study=tiny",
             "tracking.project=theirs", f"paths.outputs={outputs}")  # fmt: skip
    texts = [(f"data.num_samples={size}",) for size in (10, 20)]
    cells = [Cell.from_values(composed_config(*fixed, *text).to_dict(), text) for text in texts]
    training.train_cells(cells, ["data.num_samples"], "python -m memcap.train")
    return outputs


def test_the_command_logs_into_the_project_of_the_runs(
    here: Server, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["study=tiny", f"paths.outputs={outputs}"]
    assert main([*words, "tracking=online"]) == 0
    ((wandb_id, run),) = here.runs.items()
    assert run["project"] == "theirs"
    assert f"W&B:      {here.url}/someone/theirs/runs/{wandb_id}\n" in capsys.readouterr().out
    assert main([*words, "tracking.mode=auto", "tracking.project=ours", "tracking.entity=team"]) == 0
    assert (run["project"], run["entity"]) == ("ours", "team")


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["tracking.mode=online"], {"WANDB_API_KEY": ""}, "needs W&B credentials"),
        (["tracking.mode=online"], {"WANDB_BASE_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        (["tracking=on"], {}, "tracking.mode must be one of disabled, auto, online, offline, got on"),
        (["tracking=auto", "tracking.entity=nobody"], {}, "no user or team that W&B knows"),
        (["tracking=offline", "tracking.project=a/b"], {}, "W&B takes no such value"),
        (["tracking=offline", "y=nothing"], {}, "nothing"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(
    words: list[str], environment: dict[str, str], said: str, here: Server, outputs: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    here.refused_entities = {"nobody"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "link").symlink_to(outputs)
    capsys.readouterr()
    before = sorted(outputs.rglob("*"))
    assert main(["study=tiny", f"paths.outputs={tmp_path / 'link'}", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err
    assert sorted(outputs.rglob("*")) == before


def test_a_project_that_is_refused_is_bad_input_in_python_too(here: Server, tmp_path: Path) -> None:
    here.refused_entities = {"nobody"}
    with pytest.raises(BadInput, match="no user or team"):
        TrackedComparison(comparison(), tmp_path, "auto", entity="nobody")
