"""Known answers hold, and do not where a definition is broken on purpose."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import memcap.measures.bits
from memcap.anchors import plain
from memcap.anchors.__main__ import groups, main
from memcap.anchors.anchor import at_most, near

QUICK = "definitions,linear_model,optimizer,engines"


def test_quick_anchors_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([f"only={QUICK}"]) == 0
    said = capsys.readouterr().out
    assert said.count("PASS") >= 14
    assert "14 anchors hold" in said
    assert not list(tmp_path.iterdir())


def test_exact_anchors_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["only=perceptron,optimum"]) == 0, capsys.readouterr().out
    # The slope takes 72 trainings of 10,000 steps, and is left to the command.
    assert set(groups()) - set(QUICK.split(",")) == {"perceptron", "optimum", "slope"}


def test_bits_that_forget_to_leave_nats_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The conversion from nats is the definition most easily lost."""
    monkeypatch.setattr(memcap.measures.bits, "nats_to_bits", lambda nats: nats.to(torch.float64))
    assert main(["only=linear_model"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  linear: bits" in said
    assert "PASS  linear: top eigenvalue" in said
    assert "1 of 5 anchors FAIL" in said


def test_an_anchor_is_an_interval() -> None:
    anchor = near("a", 1.05, 1.0, 0.1, "somewhere")
    assert anchor.passed
    assert anchor.expected == "1 ± 0.1"
    assert not near("a", 1.2, 1.0, 0.1, "somewhere").passed
    assert not near("a", math.nan, 1.0, 0.1, "somewhere").passed
    assert at_most("b", -3.0, 0.0, "somewhere").expected == "≤ 0"
    assert not at_most("b", math.nan, 0.0, "somewhere").passed


def test_closed_form_of_softmax_regression_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs_ND = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    labels_N = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    weights_DV = torch.randn(3, 4, generator=generator, dtype=torch.float64)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(inputs_ND @ flat.reshape(3, 4), labels_N)

    nats, gradients_NP, hessian = plain.softmax_regression(
        inputs_ND.numpy(), labels_N.numpy(), weights_DV.numpy()
    )
    flat = weights_DV.ravel().requires_grad_()
    assert nats == pytest.approx(loss(flat).item(), rel=1e-12)
    gradient = torch.autograd.grad(loss(flat), flat)[0].numpy()
    assert gradients_NP.mean(axis=0) == pytest.approx(gradient, rel=1e-10)
    assert hessian == pytest.approx(
        torch.autograd.functional.hessian(loss, flat.detach()).numpy(), rel=1e-9, abs=1e-15
    )


@pytest.mark.parametrize("words", [["only=nothing"], ["only"], ["all=1"]])
def test_bad_input(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
