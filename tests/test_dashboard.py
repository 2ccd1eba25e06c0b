"""python -m memcap.dashboard: the workspace, and the one view of it on the server, by the real library and client."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_server import KEY, Server, running_server

from memcap.compare.tracked_content import CAPACITY
from memcap.dashboard import main
from memcap.records import wandb_client
from memcap.records.wandb_dashboard import VIEW, sections

pytest.importorskip("wandb_workspaces", reason="the extra wandb is not installed")
SECTIONS = ["Capacity", "Training", "Sharpness", "Gradients", "Studies"]


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server
        wandb_client.end_service()


@pytest.fixture
def dashboard(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "NETRC": str(tmp_path / "netrc"), "HOME": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    wandb_client.end_service()
    return lambda *arguments: main(arguments)


def shown(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The configurations of the panels by section."""
    found = spec["section"]["panelBankConfig"]["sections"]
    return {section["name"]: [panel.get("config", {}) for panel in section["panels"]] for section in found}


def test_axes_are_what_memcap_logs(dashboard: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert dashboard("entity=team", "project=p", "dry_run=true") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["entity"], found["project"]) == ("team", "p")
    panels = shown(found["spec"])
    assert list(panels) == SECTIONS
    for name in ("Training", "Sharpness", "Gradients"):
        assert {panel["xAxis"] for panel in panels[name]} == {"train/step"}
    axes = {panel.get("xAxis") for panel in panels["Capacity"]}
    # Configurations are nested, and W&B wraps each top-level key in {"value": ...}.
    assert axes >= {"config:data.value.num_samples", "config:model.value.width", "summary:num_parameters"}
    assert {panel.get("xAxis") for panel in panels["Studies"]} == {"study/ended", None}
    assert CAPACITY in json.dumps(panels["Capacity"])  # the table that comparisons log
    assert {"metrics": ["fit/slope"]}.items() <= {
        k: v for p in panels["Capacity"] for k, v in p.items()
    }.items()


def test_a_second_call_updates_the_one_view(
    dashboard: Callable[..., int], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dashboard("project=p") == 0
    ((name, view),) = server.views.items()
    assert (name, view["displayName"]) == (f"nw-{VIEW}-v", "memcap")
    address = f"{server.url}/someone/p?nw={VIEW}"
    assert capsys.readouterr().out == f"made: {address}\n"
    spec = json.loads(view["spec"])
    bank = spec["section"]["panelBankConfig"]["sections"]
    bank.append({**bank[0], "name": "Somebody's own", "panels": bank[0]["panels"][:1]})
    del bank[1]["panels"][0]
    server.views[name] = {**view, "spec": json.dumps(spec)}
    assert dashboard("project=p") == 0
    assert capsys.readouterr().out == f"updated: {address}\n"
    assert list(server.views) == [name]
    panels = shown(json.loads(server.views[name]["spec"]))
    assert list(panels) == [*SECTIONS, "Somebody's own"]
    assert [len(panels[section.name]) for section in sections()] == [
        len(section.panels) for section in sections()
    ]


def test_the_report_is_one_page_whose_notes_stay(
    dashboard: Callable[..., int], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dashboard("project=p", "report=true") == 0
    (page,) = server.reports.values()
    address = f"{server.url}/someone/p/reports/memcap-capacity--{page['id'].rstrip('=')}"
    assert (page["displayName"], capsys.readouterr().out.strip("=\n")) == (
        "memcap capacity",
        f"made: {address}",
    )
    spec = json.loads(page["spec"])
    text = [b for b in spec["blocks"] if b["type"] == "paragraph" and b["children"][0]["text"]]
    text[0]["children"][0]["text"] = "an older word about capacities"
    text[1]["children"][0]["text"] = "what we have seen"
    page["spec"] = json.dumps(spec)
    assert dashboard("project=p", "report=true") == 0
    assert capsys.readouterr().out.strip("=\n") == f"updated: {address}"
    (page,) = server.reports.values()
    assert "what we have seen" in page["spec"]
    assert "an older word" not in page["spec"]
    grids = [block for block in json.loads(page["spec"])["blocks"] if block["type"] == "panel-grid"]
    chosen = [grid["metadata"]["runSets"][0]["filters"]["filters"][0] for grid in grids]
    assert [(key["key"]["name"], key["op"], key["value"]) for key in chosen] == [
        ("jobType", "=", "compare"), ("jobType", "!=", "compare"),
    ]  # fmt: skip
    assert CAPACITY in json.dumps(grids[0])
    assert json.loads(page["spec"])["width"] == "fluid"
    assert server.views == {}


def test_what_a_team_wrote_stays_where_the_heading_of_its_notes_is_gone(
    dashboard: Callable[..., int], server: Server
) -> None:
    assert dashboard("project=p", "report=true") == 0
    (page,) = server.reports.values()
    spec = json.loads(page["spec"])
    (notes,) = [block for block in spec["blocks"] if block.get("children") == [{"text": "Notes"}]]
    for gone in (["Notes"], ["Notes", "All runs"]):
        now = json.loads(page["spec"])
        now["blocks"] = [
            block
            for block in spec["blocks"]
            if block.get("children") not in [[{"text": word}] for word in gone]
        ]
        text = [
            block for block in now["blocks"] if block["type"] == "paragraph" and block["children"][0]["text"]
        ]
        text[-1]["children"][0]["text"] = "what we have seen"
        page["spec"] = json.dumps(now)
        assert dashboard("project=p", "report=true") == 0
        (page,) = server.reports.values()
        blocks = json.loads(page["spec"])["blocks"]
        words = [json.dumps(block.get("children")) for block in blocks]
        assert words.count(json.dumps(notes["children"])) == 1
        assert "what we have seen" in "".join(words[words.index(json.dumps(notes["children"])) :])
        if gone == ["Notes"]:
            assert [block["type"] for block in blocks].count("panel-grid") == 2


def test_a_report_is_printed_without_a_server(
    dashboard: Callable[..., int], server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dashboard("entity=team", "project=p", "report=true", "dry_run=true") == 0
    assert json.loads(capsys.readouterr().out)["displayName"] == "memcap capacity"
    assert server.requests == []


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (("entity=nobody",), {}, "entity=nobody is no user or team"),
        ((), {"WANDB_API_KEY": ""}, "no W&B credentials"),
        ((), {"WANDB_BASE_URL": "http://127.0.0.1:9"}, "cannot be reached"),
        (("projekt=p",), {}, "did you mean project?"),
        (("dry_run=maybe",), {}, "dry_run must be true or false"),
        (("report=1",), {}, "report must be true or false"),
    ],
)
def test_bad_input_is_one_line(
    arguments: tuple[str, ...], environment: dict[str, str], said: str, dashboard: Callable[..., int], server: Server,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server.refused_entities = {"nobody"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert dashboard(*arguments) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err
    assert server.views == {}
