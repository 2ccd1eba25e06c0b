"""The board as it stands in conf/, and which protocol has which study."""

from __future__ import annotations

from pathlib import Path

import pytest

from memcap.errors import BadInput
from memcap.leaderboard.entry import entry_of, formula_entry
from memcap.leaderboard.protocol import board_session, claim, claimed, claiming, protocol_of, study_of
from memcap.records.study_folder import StudyFolder

SESSION = board_session()


def name(*words: str) -> str:
    return study_of(protocol_of(words, SESSION), SESSION).name


def test_what_conf_ranks() -> None:
    protocol = protocol_of((), SESSION)
    entries = protocol.entries
    assert len({entry.name for entry in entries}) == len({entry.key for entry in entries}) == len(entries)
    kinds = {entry.kind for entry in entries}
    assert kinds == {"relu", "relu2", "relu3", "relu4", "silu", "gelu", "tanh", "identity", "sin", "formula"}
    assert {entry.frequency for entry in entries if entry.kind == "sin"} == {0.1, 0.3, 1, 3, 10, 30, 100}
    assert sum(entry.kind == "formula" for entry in entries) >= 6
    assert all(entry.why and entry.text for entry in entries)
    assert protocol.options.rates() == [0.001, 0.003, 0.01, 0.03, 0.1]
    assert (list(protocol.choosing), list(protocol.fresh)) == (list(range(6)), list(range(1000, 1008)))
    config = protocol.config
    assert (config.data.num_samples, config.budget.steps, config.num_parameters) == (500, 10_000, 500)
    assert (config.optimizer.kind, config.schedule.kind) == ("adam", "cosine")


def test_a_protocol_of_its_own_has_a_study_of_its_own() -> None:
    assert name("tracking=disabled", "measure=full", "model.width=20") == "leaderboard"
    others = [name("model.width=8"), name("leaderboard.seeds=4", "seed=1")]
    assert len(set(others)) == 2
    assert all(other.startswith("leaderboard-") for other in others)
    assert name("study=mine", "model.width=8") == "mine"


def test_a_board_keeps_its_candidates_and_refuses_another_protocol(tmp_path: Path) -> None:
    study, protocol = StudyFolder(tmp_path, "board"), protocol_of((), SESSION)
    assert claimed(study, protocol) == []
    wave, bump = formula_entry("x * sin(x)", "wave", "why not"), formula_entry("exp(-x**2)")
    claim(study, protocol, [wave])
    claim(study, protocol, [bump])
    assert {entry.name: entry for entry in claimed(study, protocol)} == {"wave": wave, "exp(-x**2)": bump}
    with pytest.raises(BadInput, match=r"got budget\.steps=20, but it is a leaderboard with 10000"):
        claimed(study, protocol_of(("budget.steps=20",), SESSION))
    with pytest.raises(BadInput, match=r"leaderboard\.fresh=\[1000, 1001\]"):
        claimed(study, protocol_of(("leaderboard.fresh_seeds=2",), SESSION))


def _refused_after_a_run(study: StudyFolder) -> BadInput:
    study.open(["seed"], [{"run_id": "0" * 12, "overrides": []}], "python -m memcap.leaderboard")
    return BadInput("no")


def test_what_is_refused_takes_its_claim_back(tmp_path: Path) -> None:
    study, protocol = StudyFolder(tmp_path / "outputs", "board"), protocol_of((), SESSION)
    wave, bump = formula_entry("x*sin(x)", "wave"), formula_entry("exp(-x**2)")
    with pytest.raises(BadInput, match="no"), claiming(study, protocol, [wave]):
        raise BadInput("no")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), claiming(study, protocol, [wave]):
        raise KeyboardInterrupt
    with pytest.raises(BadInput, match="no"), claiming(study, protocol, [wave, bump]):
        raise BadInput("no")
    assert claimed(study, protocol) == [wave]  # of the call before
    with pytest.raises(BadInput, match="no"), claiming(study, protocol, [bump]):
        raise _refused_after_a_run(study)
    assert set(claimed(study, protocol)) == {wave, bump}


def test_seed_is_the_first_of_the_choosing_ones_and_no_word_of_a_run() -> None:
    protocol = protocol_of(("seed=5", "model.width=8"), SESSION)
    assert list(protocol.choosing) == list(range(5, 11))
    assert list(protocol.fresh) == list(range(1005, 1013))
    assert "model.width=8" in protocol.words
    assert not any("seed=" in word for word in protocol.words)


def test_runs_of_something_else_are_no_board(tmp_path: Path) -> None:
    study = StudyFolder(tmp_path, "width")
    study.open(["model.width"], [{"run_id": "0" * 12, "overrides": []}], "python -m memcap.train")
    with pytest.raises(BadInput, match="study=width has runs of something else"):
        claimed(study, protocol_of((), SESSION))


@pytest.mark.parametrize(
    "values",
    [{"formula": "x"}, {"name": "a"}, {"name": "a", "formula": "x", "activation": "relu"}, "relu",
     {"name": "a", "formula": "x", "slope": 1}],
)  # fmt: skip
def test_an_entry_that_is_not_understood(values: object) -> None:
    with pytest.raises(BadInput, match=r"leaderboard\.activations: an entry needs a name and a formula"):
        entry_of(values)
