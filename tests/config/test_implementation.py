"""Parts of the user's own, named by ``_target_``: which are trusted, what they must declare."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memcap.config.implementation import implementation
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput

Values = Callable[..., dict[str, Any]]

OWN_CODE = """
    import dataclasses
    from pathlib import Path
    from memcap.config.fields import counts, ignored
    from memcap.config.schema import ModelConfig

    Path(__file__).with_name("imported").touch()

    class Gated:
        @dataclasses.dataclass(frozen=True, kw_only=True)
        class Config(ModelConfig):
            kind = "gated"
            gates: int = counts(at_least=1)
            note: str = ignored()

            def num_parameters(self, data):
                return self.gates

            def activations_per_sample(self, data):
                return self.gates

    class Half:
        @dataclasses.dataclass(frozen=True, kw_only=True)
        class Config(ModelConfig):
            kind = "half"
            gates: int = counts(at_least=1)

            def num_parameters(self, data):
                return self.gates

    class Nameless:
        class Config(ModelConfig):
            pass

    class Impostor:
        class Config(ModelConfig):
            kind = "mlp"

    class Forgetful:
        @dataclasses.dataclass(frozen=True, kw_only=True)
        class Config(ModelConfig):
            kind = "forgetful"
            gates: int

    class Plain:
        pass

    class Foreign:
        class Config:
            kind = "foreign"
"""
OF_A_MODEL = {"initialization": "uniform", "initialization_scale": 1.0}


@pytest.mark.parametrize(
    "target", ["os.system", "subprocess.Popen", "memcapx.y", "torchvision.models.A", "y"]
)
def test_untrusted_targets_are_refused(target: str, run_values: Values) -> None:
    values = run_values()
    values["model"] = {"_target_": target}
    with pytest.raises(BadInput) as refused:
        RunConfig.from_dict(values)
    assert str(refused.value) == (
        f"model._target_ must start with one of memcap., torch., got {target!r};"
        f" to trust your own code add allow_targets=[{target.split('.')[0]}]"
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("memcap.models.mlp.Nothing", "model._target_ must name an importable class, got"),
        ("memcap.nowhere.Mlp", "model._target_ must name an importable class, got"),
        ("memcap.", "model._target_ must name an importable class, got"),
        (
            "memcap.models.mlp.Mlp",
            "needs a nested class Config that extends memcap.config.schema.ModelConfig",
        ),
        ("torch.nn.Linear", "needs a nested class Config that extends memcap.config.schema.ModelConfig"),
    ],
)
def test_trusted_targets_that_are_no_parts(target: str, message: str, run_values: Values) -> None:
    values = run_values()
    values["model"] = {"_target_": target}
    with pytest.raises(BadInput) as refused:
        RunConfig.from_dict(values)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's own, importable by its name until the test ends."""
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(OWN_CODE))
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_a_part_of_ones_own(own_module: str, run_values: Values) -> None:
    values = run_values(f"allow_targets=[{own_module}]")
    values["model"] = {"_target_": f"{own_module}.Gated", "gates": 2.0, "note": "a", **OF_A_MODEL}
    config = RunConfig.from_dict(values)
    assert (config.model.kind, config.model.gates) == ("gated", 2)  # type: ignore[attr-defined]
    assert implementation(config.model).__name__ == "Gated"
    assert RunConfig.from_dict(config.to_dict()) == config
    values["model"]["gates"] = 0
    with pytest.raises(BadInput, match=r"^model.gates must be a whole number ≥ 1, got 0$"):
        RunConfig.from_dict(values)


def test_untrusted_code_is_not_even_imported(own_module: str, tmp_path: Path, run_values: Values) -> None:
    values = run_values()
    values["model"] = {"_target_": f"{own_module}.Gated", "gates": 2, "note": "a", **OF_A_MODEL}
    with pytest.raises(BadInput, match="must start with one of"):
        RunConfig.from_dict(values)
    assert not (tmp_path / "imported").exists()
    RunConfig.from_dict({**values, "allow_targets": [own_module]})
    assert (tmp_path / "imported").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Plain", "needs a nested class Config that extends memcap.config.schema.ModelConfig"),
        ("Foreign", "needs a nested class Config that extends memcap.config.schema.ModelConfig"),
        ("Nameless", "needs a kind, a short name that stays when the code moves"),
        ("Impostor", "needs a kind of its own, got 'mlp', which is built in"),
        ("Half", "needs activations_per_sample, as ModelConfig says"),
        ("Forgetful", "declare gates with counts() or ignored() of memcap.config.fields"),
    ],
)
def test_parts_of_ones_own_that_cannot_have_an_id(
    name: str, message: str, own_module: str, run_values: Values
) -> None:
    values = run_values(f"allow_targets=[{own_module}]")
    values["model"] = {"_target_": f"{own_module}.{name}", "gates": 2, **OF_A_MODEL}
    with pytest.raises(BadInput) as refused:
        RunConfig.from_dict(values)
    assert str(refused.value).startswith(f"model._target_: {own_module}.{name}")
    assert message in str(refused.value)
