"""The shortcut that tests take through Hydra leads to what Hydra composes."""

from __future__ import annotations

import pytest
from compositions import CONF, STOCK, composed_values
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("model.initialization_scale=8", "model=linear", "~model.bias", "+model.width=3"),
        ("experiment=linear", "data.num_classes=7", "optimizer=sgd", "optimizer.learning_rate=1e-3"),
        ("~schedule", "study=null", "tracking.tags=[a,b]", "tracking.notes='x y'"),
        (
            "activation=formula",
            "activation.formula='x*sin(3*x)'",
            "budget.steps=1e4",
            "seed=9007199254740993",
        ),
    ],
)
def test_values_are_those_of_hydra(overrides: tuple[str, ...]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*STOCK, *overrides])
    assert composed_values(*overrides) == OmegaConf.to_container(config, resolve=True)
