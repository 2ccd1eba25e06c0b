"""Compiled code between processes, and machines on which the kernel cannot be built."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from population_cases import small_config

from memcap.config.fused_support import check_engine, unsupported
from memcap.engines import build_engine
from memcap.engines.fused import compile_cache, machine_code
from memcap.engines.notices import say_once
from memcap.errors import BadInput
from memcap.optimizers import clipping

PIECE = "losses.squared_error_value"  # the one that compiles fastest

TRAIN = """
import sys; sys.path[:0] = sys.argv[1:]
import hashlib
import importlib; small_config = importlib.import_module("population_cases").small_config
from memcap.engines import build_engine
from memcap.engines.fused import curvature, sample_pass  # as measurements do
from memcap.population import Population
config = small_config("model.bias=true", "activation=gelu")
population = Population([config])
engine = build_engine([config])
engine.advance(population, 20)
digest = hashlib.sha256(population.parameters_MP.numpy().tobytes()).hexdigest()
print(engine.name, "numba" in sys.modules, digest)
"""


def start(cache: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *sys.path],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **environment},
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> tuple[list[str], str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out.split(), err


@pytest.mark.slow
def test_two_processes_that_compile_at_once_and_one_that_loads(tmp_path: Path) -> None:
    first, second = [ended(process)[0] for process in (start(tmp_path), start(tmp_path))]
    third, err = ended(start(tmp_path))
    assert first == second == ["fused", "True", third[2]]
    assert third[:2] == ["fused", "False"]
    assert err == ""
    assert not [path for path in tmp_path.rglob("tmp*") if path.is_file()]


def test_a_kernel_that_cannot_be_built_leaves_the_batched_engine(tmp_path: Path) -> None:
    (name, _, _), err = ended(start(tmp_path, NUMBA_DISABLE_JIT="1"))
    assert name == "batched"
    assert err.count("\n") == 1
    assert "trained by the batched engine" in err


NARROW = """
import sys; narrow = int(sys.argv[1]); sys.path[:0] = sys.argv[2:]
import llvmlite.binding as llvm
features = llvm.get_host_cpu_features()
known = {name: on and name not in ("avx512f", "avx")[: narrow] for name, on in features.items()}
llvm.get_host_cpu_features = lambda: type(features)(known)
import importlib; cases = importlib.import_module("population_cases")
from memcap.engines import BatchedEngine, build_engine
from memcap.engines.fused.registers import REGISTER_BYTES
from memcap.population import Population
for dtype, tolerance in (("float64", 1e-12), ("float32", 1e-4)):
    common = ("model.depth=2", "model.width=9", "model.bias=true", "activation=gelu", f"hardware.dtype={dtype}")
    configs = [cases.small_config(*common, f"data.num_samples={n}") for n in (14, 9, 70)]
    fused, batched = Population(configs), Population(configs)
    build_engine(configs).advance(fused, 5), BatchedEngine().advance(batched, 5)
    error = (fused.parameters_MP - batched.parameters_MP).norm() / batched.parameters_MP.norm()
    assert error < tolerance, (dtype, error)
print(REGISTER_BYTES)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("lacking", "most_bytes"), [pytest.param(1, 32, marks=pytest.mark.long), (2, 16)])
def test_processors_with_narrower_registers(tmp_path: Path, lacking: int, most_bytes: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NARROW, str(lacking), *sys.path],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= most_bytes


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own for what this process compiles."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    forget()
    yield tmp_path
    monkeypatch.undo()
    forget()


def forget() -> None:
    for function in (
        compile_cache.version,
        compile_cache.cache_folder,
        say_once,
        machine_code.address,
        machine_code._c_function,
    ):
        function.cache_clear()


def test_a_broken_file_is_said_and_compiled_again(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine_code.address(PIECE, "float64")
    (path,) = cache.rglob(f"{PIECE}.float64")
    damages = (lambda b: b"", lambda b: b[:100], lambda b: b[:-1], lambda b: b[:300] + b"\1\2" + b[302:])
    for damaged in damages:
        path.write_bytes(damaged(path.read_bytes()))
        forget()
        machine_code.address(PIECE, "float64")
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert str(path) in err
    forget()
    machine_code.address(PIECE, "float64")
    assert capsys.readouterr().err == ""


def test_without_a_home_the_folder_for_temporary_files(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    forget()
    folder = compile_cache.cache_folder()
    assert folder is not None
    assert (cache / "temporary") in folder.parents
    assert stat.S_IMODE(folder.parents[1].stat().st_mode) == 0o700


def test_without_any_folder_it_compiles_all_the_same(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache / "file"))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(cache / "file"))
    forget()
    assert compile_cache.cache_folder() is None
    assert machine_code.address(PIECE, "float64") != 0


def test_a_folder_that_others_can_write_is_not_read(cache: Path) -> None:
    folder = cache / "cache" / "memcap"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert folder not in (compile_cache.cache_folder() or cache).parents


def test_another_clipping_is_another_version(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its offset is compiled into a piece, from outside of the package."""
    before = compile_cache.version()
    (cache / "clipping.py").write_text("NORM_OFFSET = 1e-3")
    monkeypatch.setattr(clipping, "__file__", str(cache / "clipping.py"))
    forget()
    assert compile_cache.version() != before


def test_without_numba(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    say_once.cache_clear()
    assert [build_engine([small_config()]).name for _ in range(2)] == ["batched", "batched"]
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "numba is not installed" in err
    with pytest.raises(BadInput, match="numba is not installed"):
        check_engine(small_config("hardware.engine=fused"))


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (("data=sparse_features", "model=autoencoder", "objective=squared_error"), "data.num_samples=null"),
        (
            ("data=sparse_features", "model=autoencoder", "objective=squared_error", "data.num_samples=9"),
            "model=autoencoder",
        ),
        *(
            (("activation=formula", f"activation.formula={formula}"), "activation.formula")
            for formula in ("sqrt(relu(x))", "x*max(x,0)**0.5", "tanh(1/max(x,0))", "exp(log1p(max(x,-1)))")
        ),
    ],
)
def test_what_is_not_supported_is_named(overrides: tuple[str, ...], part: str) -> None:
    assert (unsupported(small_config(*overrides)) or "").startswith(part)
    with pytest.raises(BadInput, match=part):
        check_engine(small_config(*overrides, "hardware.engine=fused"))
    check_engine(small_config(*overrides))
    assert build_engine([small_config(*overrides)]).name == "batched"
