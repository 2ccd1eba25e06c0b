"""docs/MEASURES.md lists what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from population_cases import small_population

from memcap.engines import BatchedEngine
from memcap.measures.observation import Observer

PAGE = (Path(__file__).parents[2] / "docs" / "MEASURES.md").read_text(encoding="utf-8")
# Said in words beside the value that they belong to.
BESIDE = ("_standard_error", "_residual", "_chance", "_score", "_unmemorized")


def listed(name: str, layers: set[str]) -> bool:
    family, _, leaf = name.rpartition("/")
    if leaf in layers:
        return f"{family}/<layer>" in PAGE or f"`{family}`, `.../<layer>`" in PAGE
    for ending in BESIDE:
        leaf = leaf.removesuffix(ending)
    return family.split("/")[0] in PAGE and any(text + leaf in PAGE for text in ("/", "`..._"))


@pytest.mark.parametrize(
    "common",
    [(), ("optimizer=sgd",), ("data=sparse_features", "model=autoencoder", "objective=squared_error")],
    ids=["adam", "sgd", "features"],
)
def test_every_metric_is_on_the_page(common: tuple[str, ...]) -> None:
    population = small_population(("measure=everything", *common), (("seed=0",),))
    observer = Observer(population)
    BatchedEngine().advance(population, 3)
    (row,), ((end,), (arrays,)) = observer.observe(population), observer.end(population)
    layers = {name.split(".")[0] for name in population.model.shapes}
    preconditioned = {name.replace("preconditioned/", "") for name in row if "/preconditioned/" in name}
    names = {*row, *end, *preconditioned} - {name for name in row if "/preconditioned/" in name}
    assert sorted(name for name in names if not listed(name, layers)) == []
    assert all(f"`{file}.npz`" in PAGE for file in arrays)
    assert all(f"`{name}`" in PAGE for values in arrays.values() for name in values)


def test_what_is_not_on_the_page_is_seen() -> None:
    assert not listed("sharpness/flatness", set())
    assert not listed("weights/kurtosis/head", {"head"})
