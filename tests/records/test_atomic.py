from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memcap.records import atomic

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(json_values)
def test_json_reads_back_what_was_written(value: object) -> None:
    assert json.loads(atomic.strict_json(value)) == value


def test_json_is_strict_and_takes_numpy() -> None:
    row = {
        "nan": float("nan"),
        "nested": [{"inf": float("inf")}, (1, np.float64("-inf"))],
        "float32": np.float32(0.5),
        "nan32": np.float32("nan"),
        "int64": np.int64(7),
        "bool": np.bool_(True),
        "array": np.array([1.0, np.nan]),
        "path": Path("a/b"),
        "float": 0.1,
        3: "key",
    }
    text = atomic.strict_json(row)
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"not strict: {name}")) == {
        "nan": None,
        "nested": [{"inf": None}, [1, None]],
        "float32": 0.5,
        "nan32": None,
        "int64": 7,
        "bool": True,
        "array": [1.0, None],
        "path": "a/b",
        "float": 0.1,
        "3": "key",
    }


def test_json_refuses_what_has_no_json() -> None:
    with pytest.raises(TypeError):
        atomic.strict_json({"a": object()})


@pytest.mark.parametrize("survives", ["kill", "folder sync", "power cut"])
def test_a_file_is_replaced_and_nothing_else_stays(tmp_path: Path, survives: atomic.Survives) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    atomic.write_json(path, {"loss": float("nan")}, survives=survives)
    assert json.loads(path.read_text()) == {"loss": None}
    assert os.listdir(tmp_path) == ["a.json"]


def test_an_error_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic.replacing(path) as file:
            file.write(b"half")
            (temporary,) = [name for name in os.listdir(tmp_path) if name != "a.bin"]
            assert re.fullmatch(r"\.a\.bin\.[0-9a-f]{8}\.tmp", temporary)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_file_mode_follows_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        atomic.write_text(tmp_path / "a", "text")
        atomic.append_line(tmp_path / "b", {})
    finally:
        os.umask(old)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o640]


def test_a_full_disk_is_the_callers_error_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits of file size exist on Unix only")
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # writing beyond fails, as on a full disk
    try:
        with pytest.raises(OSError):
            atomic.write_bytes(path, b"x" * 2000)
        with pytest.raises(OSError):
            atomic.append_line(tmp_path / "rows", {"text": "x" * 2000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "rows"]


def test_mend_keeps_a_torn_line_to_itself(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    for torn, lines in ((b"", 1), (b'{"a": 1}\n', 2), (b'{"a": 1}\n{"b"', 3)):
        path.write_bytes(torn)
        atomic.append_line(path, {"c": 2}, mend=True)
        assert len(path.read_bytes().splitlines()) == lines
        assert path.read_bytes().endswith(b'{"c":2}\n')


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "torn").write_text('{"a":')
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert [atomic.read_json(tmp_path / name) for name in ("absent", "torn", "binary", "")] == [None] * 4
