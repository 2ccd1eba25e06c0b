"""A W&B project as a table of runs: trained online against the stand-in, read back by the public API."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from compositions import composed_config
from wandb_cases import train
from wandb_server import KEY, Handler, Server, running_server

import memcap
from memcap.compare.__main__ import main
from memcap.compare.wandb_source import load_wandb_frame, parse_source, sort_out
from memcap.config.identity import run_id
from memcap.errors import BadInput
from memcap.records import wandb_client, wandb_query
from memcap.records.wandb_query import StoredRun

SWEEP = ("-m", "model.width=2,4", "data.num_samples=10,20,40", "seed=0,1,2")
ONLINE = ("tracking.mode=online", "hardware.engine=batched")  # which compiles nothing


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """A study of 18 runs, and a second one as one W&B run, on a server that keeps them."""
    folder = tmp_path_factory.mktemp("wandb_source")
    with running_server() as server:
        done = train(folder, *SWEEP, *ONLINE, "study=sizes", url=server.url)
        assert done.returncode == 0, done.stderr
        done = train(folder, *ONLINE, "study=whole", "seed=9", "tracking.per=study", url=server.url)
        assert done.returncode == 0, done.stderr
        yield server, folder


@pytest.fixture
def here(
    trained: tuple[Server, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Server, Path]]:
    """This process as one that has the server's address and a key for it."""
    server, folder = trained
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.chdir(folder)
    wandb_client.end_service()
    yield server, folder
    wandb_client.end_service()


def test_the_numbers_are_those_of_the_records(
    here: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wandb_query, "RUNS_PER_REQUEST", 7)  # three pages
    _, folder = here
    before = sorted(path.name for path in folder.iterdir())
    assert main(["source=wandb:someone/memcap"]) == 0
    said = capsys.readouterr().out
    assert main(["study=sizes"]) == 0
    assert "left out: 1 W&B run of whole studies (tracking.per=study), which have no single runs: " in said
    assert "absent:   provenance (engine, memcap, git_commit" in said
    there, own = folder / "outputs/compare/wandb_someone_memcap", folder / "outputs/studies/sizes/compare"
    for name in ("capacity", "curves", "ledger", "jamming"):
        assert (there / f"{name}.csv").read_text() == (own / f"{name}.csv").read_text(), name
    runs, recorded = (pd.read_csv(path / "runs.csv").set_index("run_id") for path in (there, own))
    measured = [name for name in recorded if not name.startswith("provenance.")]
    pd.testing.assert_frame_equal(
        runs.sort_index()[measured], recorded.sort_index()[measured], check_exact=True, check_dtype=False
    )
    page = (there / "report.html").read_text(encoding="utf-8")
    assert "<h1>all runs of wandb:someone/memcap</h1>" in page
    assert "<h2>1 alarm</h2>" in page, "of the whole study that is left out, and none of provenance"
    assert runs[[name for name in recorded if name not in measured]].isna().all(axis=None)
    assert sorted(path.name for path in folder.iterdir()) == before, "the client's files are left behind"


def test_studies_are_groups(here: tuple[Server, Path]) -> None:
    frame = memcap.load_frame(["sizes", "other"], source="wandb:memcap")  # of the account's default entity
    assert (len(frame), frame.attrs["studies"], frame.attrs["source"]) == (
        18,
        ["sizes"],
        "wandb:someone/memcap",
    )
    assert (
        frame.attrs["axes"]
        == memcap.load_frame("sizes").attrs["axes"]
        == ["data.num_samples", "model.width", "seed"]
    )
    assert set(frame["study"]) == {"sizes"}
    assert len(memcap.load_frame("siz*", source="wandb:someone/memcap")) == 18
    assert memcap.capacity(frame)["model.width"].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["source=wandb:someone/else"], {}, "no such project, or this API key may not read it"),
        (["source=wandb:someone/memcap", "study=none"], {}, "no finished run of memcap (no run at all)"),
        (
            ["source=wandb:someone/memcap", "study=whole"],
            {},
            "no finished run of memcap (1 W&B run of whole studies",
        ),
        (["source=wandb:someone/memcap"], {"WANDB_API_KEY": ""}, "needs W&B credentials, got none"),
        (["source=wandb:someone/memcap"], {"WANDB_BASE_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        (["source=wandb:a/b/c"], {}, "give source=wandb:ENTITY/PROJECT"),
        (["source=mlflow:a/b"], {}, "give source=wandb:ENTITY/PROJECT"),
        (["source=wandb:a/b", "folder=x"], {}, "give study=NAME"),
        (["source=wandb:a/b", "verify=1"], {}, "verify where the runs were trained"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    words: list[str], environment: dict[str, str], said: str, here: tuple[Server, Path],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


@pytest.mark.parametrize(("trouble", "said"), [("hang", "has sent nothing for 1 s"), (403, "may not")])
def test_trouble_while_reading_is_one_line_in_bounded_time(
    trouble: Any, said: str, here: tuple[Server, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(handler: Handler, variables: dict[str, Any]) -> None:
        handler.server.closing.wait(30.0 if trouble == "hang" else 0)
        handler.answer({"errors": [{"message": "you may not"}]}, 403)

    monkeypatch.setattr(Handler, "answer_Runs", answer)
    monkeypatch.setattr(wandb_query, "STALL_S", 1.0 if trouble == "hang" else 20.0)
    started = time.monotonic()
    with pytest.raises(BadInput, match=said) as error:
        load_wandb_frame("wandb:someone/memcap")
    assert time.monotonic() - started < 15
    assert "\n" not in str(error.value)


def stored(wandb_id: str, config: dict[str, Any], **changes: Any) -> StoredRun:
    values = {
        "name": "seed=0", "group": "g", "job_type": "train", "state": "finished", "created": "2026-01-01",
        "summary": {"status": "finished", "memory/bits": 1.0},
    }  # fmt: skip
    return StoredRun(wandb_id=wandb_id, config=config, **{**values, **changes})


def test_of_several_attempts_the_newest_that_finished_counts() -> None:
    config = composed_config().to_dict()
    first, second = "a" * 12, "b" * 12
    runs = [
        stored(first, config, summary={}, state="crashed"),
        stored(f"{first}-2", config, created="2026-01-02"),
        stored(f"{first}-3", config, created="2026-01-03"),
        stored(f"{first}-4", config, created="2026-01-04", summary={}, state="running"),
        stored(second, config, summary={"status": "failed"}, state="failed"),
        stored(f"{second}-2", config, summary={"status": "diverged"}),
        stored("c" * 12, config, summary={"status": "failed"}, state="failed"),
        stored("d" * 12, config, summary={}, state="running"),
        stored("x1y2z3", config, job_type="sweep-agent"),
        stored("mine", {"lr": 0.1}),
        stored("compare-1", {"studies": ["g"]}, job_type="compare"),
    ]
    usable, left_out = sort_out(runs)
    agents = run_id(composed_config())  # an agent's run has an id of its own
    assert [(own_id, run.wandb_id) for own_id, run in usable] == [
        (first, f"{first}-3"), (second, f"{second}-2"), (agents, "x1y2z3"),
    ]  # fmt: skip
    assert [line.split(":")[0] for line in left_out] == [
        "1 W&B run that failed",
        "1 W&B run without a result",
        "4 W&B runs of earlier or unfinished attempts of runs that are there with a result",
        "1 W&B run of comparisons",
        "1 W&B run not of memcap",
    ]


def test_code_that_a_project_names_is_not_imported() -> None:
    config = composed_config().to_dict()
    foreign = {**config, "model": {**config["model"], "_target_": "antigravity.Model"}}
    usable, left_out = sort_out([stored("x1y2z3", foreign)])
    assert (usable, len(left_out)) == ([], 1)


def test_a_source_is_an_entity_and_a_project() -> None:
    assert parse_source("wandb:team/p") == ("team", "p")
    assert parse_source("wandb:p") == (None, "p")
