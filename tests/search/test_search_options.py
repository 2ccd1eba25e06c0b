"""Options of a search: what conf/ says is read, what cannot be is refused with one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from memcap.errors import BadInput
from memcap.search.options import FRESH_OFFSET, SearchOptions

CONF = Path(__file__).parents[2] / "conf" / "hydra" / "sweeper"


def values(name: str = "capacity", **changes: Any) -> dict[str, Any]:
    found = yaml.safe_load((CONF / f"{name}.yaml").read_text())["search"]
    assert isinstance(found, dict)
    return found | changes


@pytest.mark.parametrize("name", ["capacity", "search"])
def test_both_presets_are_valid(name: str) -> None:
    options = SearchOptions.from_dict(values(name))
    assert not set(options.choosing(7)) & set(options.fresh(7))
    assert options.given_rates() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerance": 0}, "search.tolerance must be a number > 0, got 0"),
        ({"tolerance": 3}, "search.tolerance must be at most 1"),
        ({"seeds": 1}, "search.seeds must be a whole number ≥ 2, got 1"),
        ({"seeds": FRESH_OFFSET + 1}, "search.seeds must be at most"),
        ({"goal": "capacities"}, r"did you mean capacity\?"),
        ({"axis": "model.width"}, "search.goal=memorize_all"),
        ({"goal": "memorize_all"}, "search.axis=model.width"),
        ({"goal": "memorize_all", "axis": "model.width", "budget_doublings": 2}, "budget_doublings"),
        ({"learning_rates": []}, "search.learning_rates must be a list of numbers above 0"),
        ({"learning_rates": ["fast"]}, "search.learning_rates must be a list of numbers above 0"),
        ({"learning_rates": [0.1, -1]}, r"got \[0.1,-1\]"),
        ({"smallest": 10, "largest": 10}, "search.smallest must be below search.largest = 10"),
        ({"tolerence": 0.1}, r"did you mean tolerance\?"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        SearchOptions.from_dict(values(**changes))


def test_rates_are_sorted_numbers() -> None:
    options = SearchOptions.from_dict(values(learning_rates=[0.03, 0.003, 0.03, 1e-4]))
    assert options.given_rates() == [1e-4, 0.003, 0.03]
