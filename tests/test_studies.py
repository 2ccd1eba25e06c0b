"""python -m memcap.studies: studies renamed, put away, carried to another machine; runs that nobody lists."""

from __future__ import annotations

import io
import os
import shutil
import socket
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from background_sweeps import fail_run, finish_run, list_study, submission
from compositions import composed_config

from memcap.config.cell import Cell
from memcap.errors import BadInput
from memcap.records.folder_lock import FolderLock
from memcap.records.frozen_cells import frozen_values
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.resume import main as resume
from memcap.studies import main
from memcap.study import load_study
from memcap.study_command import words_of
from memcap.submission.study_status import study_status

OUTPUTS = Path("outputs")
SHORT = ("tracking=disabled", "budget.steps=20", "budget.check_every=10", "measure.points=2")
Say = Callable[..., str]


def cells_of(*seeds: int, study: str = "s") -> list[Cell]:
    configs = [composed_config(*SHORT, f"seed={seed}", f"study={study}") for seed in seeds]
    return [Cell.from_values(c.to_dict(), [f"seed={c.seed}"]) for c in configs]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """What the command prints; with ``status``, what it says on stderr with that exit status, in one line."""

    def run(*words: str, status: int = 0) -> str:
        assert main(words) == status
        out, err = capsys.readouterr()
        if status:
            assert err.count("\n") == 1, err
            return err
        assert err == ""
        return out

    return run


def done_and_open() -> tuple[StudyFolder, list[Cell]]:
    """A study of a finished run, one that failed and one that was never begun."""
    cells = cells_of(0, 1, 2)
    study = list_study(OUTPUTS, cells)
    finish_run(study, cells[0])
    fail_run(study, cells[1], ValueError("no"))
    return study, cells


def files(folder: Path) -> dict[str, bytes]:
    """All that a folder holds."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_list(said: Say) -> None:
    assert said() == "no studies in outputs\n"
    study, _ = done_and_open()
    list_study(OUTPUTS, cells_of(7, study="later"), "later")
    os.utime(study.path / "study.json", (1, 1))
    os.utime(study.path / "index.jsonl", (1, 1))
    rows = [line.split() for line in said("--size").splitlines()]
    assert rows[0][:4] == ["study", "cells", "done", "failed"]
    assert rows[1][:4] == ["s", "3", "1", "1"]
    assert rows[2][:4] == ["later", "1", "0", "0"]
    assert float(rows[1][-2]) > 1
    (study.path / "study.json").write_text("{")
    assert "is not a study's JSON" in said()


def test_a_renamed_study_is_whole_and_goes_on(said: Say) -> None:
    study, cells = done_and_open()
    submission(study, [cells[:1]], "local", [{"job_id": "1"}])
    assert said("rename", "s", "t").startswith("study s is t now: outputs/studies/t\n")
    new = StudyFolder(OUTPUTS, "t")
    assert not study.path.exists()
    assert new.read()["name"] == "t"
    assert {values["study"] for _, values in frozen_values(new.path / "cells.jsonl")} == {"t"}
    result = RunFolder(OUTPUTS, cells[0].run_id).read_result()
    assert result is not None
    assert result["studies"] == ["t"]
    assert list(load_study("t")["run_id"]) == [cells[0].run_id]
    assert study_status(new).counts == {"finished": 1, "failed": 1, "not started": 1}
    assert resume(["study=t", "hydra/launcher=memcap"]) == 0
    assert study_status(new).counts == {"finished": 3}
    assert not study.path.exists()


def test_a_name_that_is_taken_stays_taken(said: Say) -> None:
    done_and_open()
    list_study(OUTPUTS, cells_of(7), "t")
    before = files(OUTPUTS)
    assert "outputs/studies/t is there already" in said("rename", "s", "t", status=2)
    assert "study must be 1 to 120 letters" in said("rename", "s", "../t", status=2)
    assert "did you mean s?" in said("rename", "S", "u", status=2)
    assert files(OUTPUTS) == before


@pytest.mark.parametrize("words", [("rename", "s", "t"), ("archive", "s")])
def test_a_study_that_runs_is_left_where_it_is(words: tuple[str, ...], said: Say, owner: Owner) -> None:
    study, cells = done_and_open()
    folder = RunFolder(OUTPUTS, cells[2].run_id)
    folder.start(cells[2].config.to_dict())
    lock = FolderLock(folder.path, owner)
    assert lock.acquire()
    try:
        assert "has 1 run running or queued" in said(*words, status=2)
    finally:
        lock.release()
    waiting = submission(study, [cells[2:]], "local", [{"job_id": "1"}])
    told = {"state": "running", "host": f"not-{socket.gethostname()}", "pid": 1, "started": time.time()}
    waiting.write_state(0, {**told, "updated": time.time()})
    assert "has 1 run running or queued" in said(*words, status=2)
    waiting.write_state(0, {**told, "updated": time.time() - 3600})
    said(*words)


def test_archived_and_back(said: Say) -> None:
    study, cells = done_and_open()
    before = files(OUTPUTS)
    said("archive", "s")
    assert said() == "no studies in outputs\n"
    assert "s " in said("--archived")
    assert said("prune") == "every run in outputs is listed by a study\n"  # an archived one
    line = "study s is archived in outputs/archive; python -m memcap.studies unarchive s brings it back\n"
    assert said("rename", "s", "t", status=2) == f"memcap: {line}"
    with pytest.raises(BadInput, match="is archived in outputs/archive"):
        words_of(["study=s"], "", keys=("study",)).study()
    list_study(OUTPUTS, cells[:1])
    assert "is there already" in said("unarchive", "s", status=2)
    shutil.rmtree(study.path)
    said("unarchive", "s")
    assert files(OUTPUTS) == before


def test_a_study_goes_to_another_machine(said: Say) -> None:
    _, cells = done_and_open()
    assert "with 2 runs" in said("export", "s", "s.tar.gz")
    assert "is there already" in said("export", "s", "s.tar.gz", status=2)
    assert "with 2 runs" in said("export", "s", "a new/folder/s.tar.gz")
    assert "cannot be written" in said("export", "s", "s.tar.gz/s.tar.gz", status=2)
    assert "must end in .tar.gz" in said("export", "s", "s.zip", status=2)
    assert said("import", "s.tar.gz", "paths.outputs=there").startswith("study s: 2 runs imported\n")
    there = Path("there")
    here, arrived = files(OUTPUTS), files(there)
    left = (".lock", "attempt.json")  # of attempts that have ended
    assert {name for name in here if not name.endswith(left)} == set(arrived) - {"studies/s/.lock"}
    for name in arrived.keys() & here.keys():
        assert arrived[name] == here[name], name
    assert study_status(StudyFolder(there, "s")).counts == {"finished": 1, "failed": 1, "not started": 1}
    assert resume(["study=s", "paths.outputs=there"]) == 0
    assert study_status(StudyFolder(there, "s")).counts == {"finished": 3}
    assert RunFolder(OUTPUTS, cells[2].run_id).state() == "absent"


def test_an_import_replaces_no_finished_run_and_joins_a_study(said: Say) -> None:
    _, cells = done_and_open()
    said("export", "s", "s.tar.gz")
    there = Path("there")
    study = list_study(there, cells_of(0, 9))
    finish_run(study, cells[0], "diverged")
    folder = RunFolder(there, cells[0].run_id)
    before = (folder.path / "result.json").read_bytes()
    printed = said("import", "s.tar.gz", "paths.outputs=there")
    assert printed.startswith("study s: 1 run imported, which was here and has their cells now\n")
    assert "kept as they are, since they were here: 1\n" in printed
    assert (folder.path / "result.json").read_bytes() == before
    assert study_status(study).counts == {"diverged": 1, "failed": 1, "not started": 2}
    assert len(list(frozen_values(study.path / "cells.jsonl"))) == 4
    assert "0 runs imported" in said("import", "s.tar.gz", "paths.outputs=there")


def test_a_finished_run_takes_the_place_of_a_failed_one(said: Say) -> None:
    _, cells = done_and_open()
    said("export", "s", "s.tar.gz")
    study = list_study(Path("there"), cells)
    fail_run(study, cells[0], RuntimeError("no"))
    with Owner(Path("there")) as owner:
        assert FolderLock(RunFolder(study.outputs, cells[0].run_id).path, owner).acquire()
        assert "a process trains them here: 1" in said("import", "s.tar.gz", "paths.outputs=there")
    said("import", "s.tar.gz", "paths.outputs=there")
    assert study_status(study).states[cells[0].run_id] == "finished"
    assert not (RunFolder(study.outputs, cells[0].run_id).path / "failure.json").exists()


@pytest.mark.parametrize("cut", [10, 300, -20])
def test_a_torn_file_changes_nothing(cut: int, said: Say) -> None:
    done_and_open()
    said("export", "s", "s.tar.gz")
    whole = Path("s.tar.gz").read_bytes()
    Path("s.tar.gz").write_bytes(whole[:cut])
    assert "s.tar.gz is torn or no export" in said("import", "s.tar.gz", "paths.outputs=there", status=2)
    Path("s.tar.gz").write_bytes(whole[:200] + bytes([whole[200] ^ 255]) + whole[201:])
    assert "s.tar.gz is torn or no export" in said("import", "s.tar.gz", "paths.outputs=there", status=2)
    assert not Path("there").exists()


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("../evil", tarfile.REGTYPE, ""),
        ("/evil", tarfile.REGTYPE, ""),
        ("studies/s/../../../evil", tarfile.REGTYPE, ""),
        ("studies/s/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("studies/s/link", tarfile.LNKTYPE, "studies/s/study.json"),
        ("studies/s/pipe", tarfile.FIFOTYPE, ""),
        ("runs/ab/cd1234567890/result.json", tarfile.REGTYPE, ""),
        ("costs.jsonl", tarfile.REGTYPE, ""),
        ("studies/other/study.json", tarfile.REGTYPE, ""),
    ],
)
def test_what_has_no_place_in_an_export_is_refused(name: str, kind: bytes, link: str, said: Say) -> None:
    done_and_open()
    said("export", "s", "s.tar.gz")
    with tarfile.open("s.tar.gz") as old, tarfile.open("evil.tar.gz", "w:gz") as new:
        for member in old:
            new.addfile(member, old.extractfile(member))
        evil = tarfile.TarInfo(name)
        evil.type, evil.linkname, evil.size = kind, link, 3 if kind == tarfile.REGTYPE else 0
        new.addfile(evil, io.BytesIO(b"{}\n") if evil.size else None)
    assert "evil.tar.gz" in said("import", "evil.tar.gz", "paths.outputs=a/there", status=2)
    assert not Path("a/there").exists()
    assert not list(Path().rglob("evil"))
    assert "missing.tar.gz is not there" in said("import", "missing.tar.gz", status=2)


def test_runs_that_no_study_lists_go_when_that_is_said(said: Say, owner: Owner) -> None:
    study, cells = done_and_open()
    other = list_study(OUTPUTS, cells_of(0, 7, 8, 9), "other")
    orphans = cells_of(7, 8, 9)
    for cell in orphans:
        finish_run(other, cell)
    shutil.rmtree(other.path)
    lock = FolderLock(RunFolder(OUTPUTS, orphans[2].run_id).path, owner)
    assert lock.acquire()
    before = files(OUTPUTS)
    printed = said("prune")
    assert printed.startswith("2 runs that no study lists, ")
    assert printed.endswith("nothing was removed; add --yes to remove them\n")
    assert files(OUTPUTS) == before
    assert said("prune", "--yes").startswith("2 runs removed, ")
    lock.release()
    kept = {path.name for path in OUTPUTS.glob("runs/??/*")}
    assert kept == {cells[0].run_id, cells[1].run_id, orphans[2].run_id}
    assert study_status(study).counts == {"finished": 1, "failed": 1, "not started": 1}


def test_nothing_is_pruned_where_a_list_cannot_be_read(said: Say) -> None:
    study, cells = done_and_open()
    (study.path / "study.json").write_text("{")
    assert "is not a study's JSON" in said("prune", "--yes", status=2)
    (study.path / "study.json").unlink()
    assert "has no study.json, so its runs are not known" in said("prune", "--yes", status=2)
    assert RunFolder(OUTPUTS, cells[0].run_id).state() == "finished"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("renam", "s", "t"), "did you mean rename?"),
        (("rename", "s"), "rename takes 2 names, got 1"),
        (("--siz",), "did you mean --size?"),
    ],
)
def test_what_is_not_understood_is_one_line(words: tuple[str, ...], told: str, said: Say) -> None:
    assert told in said(*words, status=2)


@pytest.fixture
def owner() -> Iterator[Owner]:
    with Owner(Path("outputs")) as found:
        yield found
