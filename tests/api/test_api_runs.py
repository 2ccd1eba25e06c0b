"""A run in hand: its record, its data and evaluation sets, and the network that was trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from api_cases import SMALL
from compositions import CONF

import memcap


def test_a_run_in_hand(here: Path) -> None:
    run = memcap.run(
        {"model.width": 6, "budget.steps": 30, "activation": "sin", "activation.frequency": 1.5},
        seed=1,
        tracking="disabled",
        hardware={"dtype": "float64"},
        data={"num_samples": 25, "input_dim": 4},
    )
    assert run.status == "finished"
    assert (run.stop_reason, run.error) == ("budget", None)
    assert run.config.model.width == 6  # type: ignore[attr-defined]
    assert run.config.data.num_samples == 25
    assert list(run.history.index[[0, -1]]) == [0, 30]
    assert run.history["memory/bits"].iloc[-1] == run.summary["memory/bits"]
    assert run.data.inputs_ND.shape == (25, 4)
    assert sorted(run.evaluation_sets) == ["null", "test"]
    assert run.weights["hidden1.weight"].shape == (4, 6)
    logits_NV = run.model(run.data.inputs_ND)
    picked_N = logits_NV[np.arange(25), run.data.targets_N]
    losses_N = np.log(np.exp(logits_NV).sum(1)) - picked_N
    np.testing.assert_allclose(losses_N, run.arrays("samples")["final_loss"], rtol=1e-10)
    test = run.evaluation_sets["test"]
    test_NV = torch.from_numpy(run.model(test.inputs_ND))
    loss = torch.nn.functional.cross_entropy(test_NV, torch.from_numpy(test.targets_N)).item()
    assert loss == pytest.approx(run.summary["eval/test/loss_nats"], rel=1e-10)
    assert repr(run).startswith(f"<Run {run.run_id} finished: bits ")
    assert "paths.outputs" not in run.command
    again = memcap.load_run(run.run_id[:5])
    assert again.summary == run.summary
    assert again.run_id == run.run_id


@pytest.mark.parametrize("name", ["data", "evaluation_sets"])
def test_other_data_than_the_recorded_are_refused(name: str, here: Path) -> None:
    run = memcap.run(SMALL)
    record = json.loads((run.path / "result.json").read_text(encoding="utf-8"))
    record["provenance"]["data_fingerprint"] = "0" * 16
    (run.path / "result.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(memcap.BadInput, match=r"its data cannot be drawn again.* recorded 0000000000000000"):
        getattr(memcap.load_run(run.path), name)


@pytest.mark.parametrize("overrides", ["model=linear", "model.depth=3 model.residual=true model.bias=true"])
def test_the_model_is_the_network_that_was_trained(overrides: str, here: Path) -> None:
    run = memcap.run(f"{overrides} {SMALL} hardware.dtype=float64")
    logits_NV = torch.from_numpy(run.model(run.data.inputs_ND))
    targets_N = torch.from_numpy(run.data.targets_N)
    loss_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    np.testing.assert_allclose(loss_N, run.arrays("samples")["final_loss"], rtol=1e-10)


def test_an_autoencoder_reconstructs(here: Path) -> None:
    run = memcap.run(f"experiment=sparse_autoencoder {SMALL} data.num_samples=null data.batch_size=8")
    outputs_NF = run.model(run.data.inputs_ND)
    assert outputs_NF.shape == run.data.inputs_ND.shape
    loss_N = ((outputs_NF - run.data.targets_N) ** 2).mean(1)
    assert loss_N.shape == run.arrays("samples")["final_loss"].shape


def test_torch_inputs_give_torch_outputs_with_gradients(here: Path) -> None:
    run = memcap.run(SMALL)
    inputs_ND = torch.tensor(run.data.inputs_ND, requires_grad=True)
    logits_NV = run.model(inputs_ND)
    logits_NV.sum().backward()
    assert isinstance(logits_NV, torch.Tensor)
    assert inputs_ND.grad is not None
    assert inputs_ND.grad.abs().sum() > 0
    np.testing.assert_array_equal(logits_NV.detach().numpy(), run.model(run.data.inputs_ND))
    with pytest.raises(memcap.BadInput, match=r"inputs must be \[N, 10\], got \[3\]"):
        run.model(np.zeros(3))


def test_options_of_ones_own_in_a_folder(here: Path) -> None:
    (here / "my_conf" / "model").mkdir(parents=True)
    text = (CONF / "model" / "mlp.yaml").read_text().replace("width: 16", "width: 7")
    (here / "my_conf" / "model" / "tiny.yaml").write_text(text)
    assert memcap.run(f"model=tiny {SMALL}", config_dir="my_conf").config.model.width == 7  # type: ignore[attr-defined]
    (study,) = here.glob("outputs/studies/*/study.json")
    command = json.loads(study.read_text(encoding="utf-8"))["command"]
    assert command == f"memcap.run('model=tiny {SMALL}', config_dir='my_conf')"
    with pytest.raises(memcap.BadInput, match="config_dir must be a folder, got nowhere"):
        memcap.run(config_dir="nowhere")


def test_the_package_names_what_it_has() -> None:
    assert {"run", "sweep", "load_run", "load_study", "Run", "BadInput", "RunFailed"} <= set(dir(memcap))
    with pytest.raises(AttributeError, match="has no attribute 'runs'"):
        _ = memcap.runs  # type: ignore[attr-defined]
