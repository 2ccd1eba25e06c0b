"""What the command line takes, and that every mistake on it is answered by one line."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from memcap.command_line import arrange_arguments, explain, quote_arguments, run_hydra
from memcap.errors import BadInput, Interrupted

CONF = str(Path(__file__).resolve().parents[1] / "conf")
NOT_FOR_HELP = ("torch", "wandb", "pandas", "rich", "numpy", "scipy", "submitit")

Run = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(
    ("argument", "quoted"),
    [
        ("activation.formula=x*sin(3*x)", "activation.formula='x*sin(3*x)'"),
        ("activation.formula=x*sin(x), max(x,0.1*x)", "activation.formula='x*sin(x)','max(x,0.1*x)'"),
        ("activation.formula='x*sin(x),1'", "activation.formula='x*sin(x),1'"),
        ('activation.formula="x",x*x', "activation.formula=\"x\",'x*x'"),
        ("activation.formula=choice(x, max(x,0))", "activation.formula=choice('x','max(x,0)')"),
        ("+activation.formula=-x", "+activation.formula='-x'"),
        ("++activation.formula=x", "++activation.formula='x'"),
        ("activation.formula=x'y\\", r"activation.formula='x\'y\\'"),
        ("zip=a,b;c,d", "zip='a,b;c,d'"),
        ("zip='a,b'", "zip='a,b'"),
        ("zip=null", "zip=null"),
        ("cells=my cells=1.csv", "cells='my cells=1.csv'"),
        ("model.width=8,16", "model.width=8,16"),
        ("-m", "-m"),
    ],
)
def test_quoting(argument: str, quoted: str) -> None:
    assert quote_arguments([argument]) == [quoted]
    assert quote_arguments([quoted]) == [quoted]


@given(text=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1))
def test_whatever_a_path_is_hydra_reads_it_back(text: str) -> None:
    if text == "null" or (text[0] == text[-1] and text[0] in "'\""):
        return  # says what it is
    (argument,) = quote_arguments([f"cells={text}"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    assert override.value() == text


def test_flags_and_overrides_come_in_any_order() -> None:
    assert arrange_arguments(["seed=0,1", "-m", "-cn", "train", "model=mlp"]) == [
        *("-m", "-cn", "train"),
        *("seed=0,1", "model=mlp"),
    ]
    with pytest.raises(BadInput, match="unrecognized arguments: --foo; --help shows"):
        arrange_arguments(["seed=1", "--foo"])


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    hydra_restore_singletons: None,
) -> Run:
    """Calls the application with arguments as a shell splits them; returns its exit status and what it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def task(config: Any) -> None:
        from memcap.config.cell import Cell

        Cell.from_values(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))  # type: ignore[arg-type]

    task.train_cells = lambda cells, axes: []  # type: ignore[attr-defined]

    def call(line: str, function: Callable[..., Any] = task) -> tuple[int, str]:
        main = hydra.main(config_path=CONF, config_name="train", version_base="1.3")(function)
        monkeypatch.setattr(sys, "argv", ["memcap", *shlex.split(line)])
        status = run_hydra(main)
        return status, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("model.widht=3", "model.widht is not a key of model=mlp (did you mean model.width?)"),
        ("modle.width=3", "modle.width is not a key (did you mean model.width?)"),
        ("learning_rate=1", "learning_rate is not a key (did you mean optimizer.learning_rate?)"),
        (
            "experiment=linear model.width=3",
            "model.width is not a key of model=linear, but of mlp, autoencoder; keys: ",
        ),
        (
            "activation.formula=x*sin(3*x)",
            "activation.formula is not a key of activation=relu, but of formula",
        ),
        (
            "model=mpl",
            "model=mpl: model has no option mpl (did you mean model=mlp?); options: autoencoder, linear, mlp",
        ),
        ("hydra/launcher=foo", "hydra/launcher has no option foo; options: basic, "),
        ("modle@x=mlp", "there is no group modle"),
        ("++model=mlp", "a group is chosen without +, as model=mlp"),
        ("model=3", "a group takes the name of an option, as in model=mlp, got a value of type int"),
        ("model.width=1,2", "model.width=1,2 gives several values to one run; add -m"),
        ("'seed=range(1,3)'", "seed=range(1,3) gives several values to one run; add -m"),
        ("zip=seed,model.width", "makes several runs; add -m"),
        ("-m hydra.verbose=true,false", "hydra.verbose=true,false cannot be swept"),
        ("model.width 8", 'expected key=value, got "model.width"'),
        (
            "'study=a(b'",
            'study=a(b cannot be read at "a(b"; put the value in quotes, also for the shell: "study=\'a(b\'"',
        ),
        ('"study=\'a"', "cannot be read (a quote is not closed"),
        ("'seed=foo(1)'", "Unknown function 'foo'"),
        ("+seed=3", "seed exists already; drop the +"),
        ("~modle", "~modle deletes nothing"),
        ("+model=linear", "model has an option already; choose another with model=OPTION"),
        ("'seed=${foo}'", "seed: Interpolation key 'foo' not found"),
        ("'study=${oc.env:MEMCAP_NOT_SET}'", "Environment variable 'MEMCAP_NOT_SET' not found"),
        ("'seed=???'", "seed has no value (it is ???); add seed=VALUE"),
        ("hydra.job.num=x", "could not be converted to Integer"),
        ("--config-name=foo", "--config-name: there is no configuration foo"),
        ("--config-dir=/not/there", "--config-dir: there is no directory /not/there"),
        ("--resolve", "--resolve needs --cfg or --help"),
        ("-m --cfg job", "only one of --run, --multirun, --cfg"),
        ("--foo", "unrecognized arguments: --foo; --help shows"),
        ("seed=-1", "seed must be a whole number ≥ 0"),
        ("-m seed=0,-1", 'got -1 (cell 2: "seed=-1")'),
        ("-m model=mlp,foo", 'options: autoencoder, linear, mlp (cell 2: "model=foo")'),
    ],
)
def test_a_mistake_is_answered_by_one_line(line: str, message: str, run: Run, tmp_path: Path) -> None:
    status, said = run(line)
    assert status == 2
    assert said.startswith("memcap: ")
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_yaml_that_is_not_valid_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel: [1\n")
    status, said = run(f"--config-dir={tmp_path} experiment=mine")
    assert (status, said.count("\n")) == (2, 1)
    assert "not valid YAML" in said
    assert "mine.yaml" in said


def test_exit_status_of_what_a_task_raises(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    def raising(error: BaseException) -> Callable[..., Any]:
        def task(config: Any) -> None:
            raise error

        return task

    assert run("", raising(BadInput("no such thing"))) == (2, "memcap: no such thing\n")
    assert run("", raising(KeyboardInterrupt())) == (130, "memcap: interrupted\n")
    assert run("", raising(Interrupted("SIGTERM"))) == (130, "memcap: SIGTERM\n")
    with pytest.raises(ZeroDivisionError):  # not the user's mistake: the traceback is wanted
        run("", raising(ZeroDivisionError()))
    assert "Error executing job" in capsys.readouterr().err
    assert run("", lambda config: None) == (0, "")
    assert run("--cfg job") == (0, "")


def test_the_process_is_left_as_it_was(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = JobReturn.return_value
    run("activation=formula activation.formula=x")
    assert sys.argv == ["memcap", "activation=formula", "activation.formula=x"]
    assert "HYDRA_FULL_ERROR" not in os.environ
    assert JobReturn.return_value is before


def test_who_asks_for_the_full_error_gets_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    status, said = run("seed=-1")
    assert status == 2
    assert "Traceback" in said
    assert os.environ["HYDRA_FULL_ERROR"] == "1"


def test_errors_of_the_program_are_not_explained_away() -> None:
    assert explain(ValueError("shapes do not match")) is None
    assert explain(KeyError("model")) is None


def in_shell(command: str, folder: Path) -> str:
    """The output of a real shell's command in which ``memcap.train`` stands for the module."""
    line = command.replace("memcap.train", f"{shlex.quote(sys.executable)} -m memcap.train")
    environment = {**os.environ, "WANDB_MODE": "disabled"}
    done = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("formula", ["x*sin(3*x)", "max(x,0.1*x)", "-x**2/(1 + x**2)"])
def test_formulas_pass_a_real_shell(formula: str, tmp_path: Path) -> None:
    shown = in_shell(f"memcap.train activation=formula 'activation.formula={formula}' --cfg job", tmp_path)
    assert OmegaConf.create(shown).activation.formula == formula


@pytest.mark.parametrize("flags", ["--help", "--cfg job"])
def test_help_is_instant_for_it_imports_nothing_heavy(flags: str, tmp_path: Path) -> None:
    code = (
        "import runpy, sys, atexit\n"
        f"sys.argv = ['memcap', *{flags.split()!r}]\n"
        f"atexit.register(lambda: print('HEAVY', *[m for m in {NOT_FOR_HELP!r} if m in sys.modules]))\n"
        "runpy.run_module('memcap.train', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    *page, heavy = done.stdout.splitlines()
    assert heavy == "HEAVY"
    assert len(page) > 30
    assert list(tmp_path.iterdir()) == []


def test_the_help_page_fits_a_terminal_and_shows_every_option(tmp_path: Path) -> None:
    page = in_shell("memcap.train --help", tmp_path)
    assert max(map(len, page.splitlines())) <= 80
    for path in Path(CONF).glob("[a-z]*/*.yaml"):
        assert path.stem in page
    assert "hydra/" not in page
