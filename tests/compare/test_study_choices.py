"""What a study says should be drawn of it, and what the command says."""

from __future__ import annotations

import pandas as pd

from memcap.compare.study_choices import agreed, completed

NOTHING = {"y": None, "x": None, "hue": None, "facet": None}


def frame(**said: str) -> pd.DataFrame:
    table = pd.DataFrame({"model.width": [1], "seed": [0], "activation.kind": ["relu"]})
    table.attrs["compare"] = said
    return table


def test_what_is_given_wins_and_bits_are_the_last_resort() -> None:
    said = frame(y="samples", x="model.width")
    assert completed({}, said) == {**NOTHING, "y": "samples", "x": "model.width"}
    assert completed({"y": "bits", "x": None}, said) == {**NOTHING, "y": "bits", "x": "model.width"}
    assert completed({"x": "activation.kind"}, said)["x"] == "activation.kind"
    assert completed({}, frame()) == {**NOTHING, "y": "bits"}


def test_a_suggestion_that_does_not_fit_is_left_out() -> None:
    assert completed({}, frame(x="data.input_dim"))["x"] is None, "these runs have no such key"
    placed = completed({"hue": "model.width"}, frame(x="model.width"))
    assert (placed["x"], placed["hue"]) == (None, "model.width"), "it has another place"


def test_of_several_studies_what_they_have_alike() -> None:
    one = {"compare": {"y": "samples", "x": "model.width"}}
    other = {"compare": {"y": "samples", "x": "data.input_dim"}}
    assert agreed([one, other]) == {"y": "samples"}
    assert agreed([one, {}]) == {}, "a study from before there was such a key says nothing"
    assert agreed([]) == {}
