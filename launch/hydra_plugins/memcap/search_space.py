"""What a search is about: its configurations, their nuisance values, the range of sizes, and the cell of each trial."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra_plugins.memcap.axes import Axis
from hydra_plugins.memcap.composition import CellComposer

from memcap.config.cell import Cell
from memcap.config.identity import digest, study_name
from memcap.config.run_config import RunConfig
from memcap.errors import BadInput, nearest
from memcap.search.lattice import Lattice
from memcap.search.options import CAPACITY, SearchOptions

if TYPE_CHECKING:
    from memcap.records.study_folder import StudyFolder
    from memcap.search.configuration import ConfigurationSearch
    from memcap.search.peak import PeakSearch
    from memcap.search.threshold import ThresholdSearch
    from memcap.search.trial import Trial

RATE = "optimizer.learning_rate"
OWN_SETTINGS = (-1, 0, 1)  # of the rates around the optimizer's
RANGE = 64  # the largest size, in units of the prior
NAMING = (
    "model",
    "activation",
    "data",
    "optimizer",
    "objective",
    "experiment",
)  # keys that name a lone configuration
LARGEST_POWER = 20  # of two, of a size that a prior may have


class Configuration(NamedTuple):
    """One cell of the compared axes: all its overrides, those that tell it apart, and its search.

    rate: the learning rate of a setting's number.
    """

    overrides: tuple[str, ...]
    own: tuple[str, ...]
    cell: Cell
    rate: Callable[[int], float]
    search: ConfigurationSearch


class SearchSpace:
    """The configurations of a search, composed and checked; raises BadInput with one line."""

    def __init__(self, composer: CellComposer, axes: Sequence[Axis], options: SearchOptions) -> None:
        self.composer = composer
        self.axes, self.options = compared_axes(axes, options)
        self.compared = [key.lstrip("+") for axis in self.axes if axis.swept for key in axis.keys]
        self.configurations: list[Configuration] = []
        study: str | None = None
        several = math.prod(len(axis.steps) for axis in self.axes) > 1
        for number, steps in enumerate(product(*(axis.steps for axis in self.axes)), start=1):
            overrides = [text for step in steps for text in step]
            own = tuple(t for step, axis in zip(steps, self.axes, strict=True) if axis.swept for t in step)
            cell, values = self._composed(overrides, own, number if several else None)
            if cell.config.study is None:
                study = study or self._study(cell, overrides)
                overrides.append(f"study={study}")
                cell = replace(cell, config=replace(cell.config, study=study))
            self.configurations.append(self._configuration(tuple(overrides), own, cell, values))

    @property
    def keys(self) -> list[str]:
        """The keys in which cells of the study differ."""
        doubled = ["budget.steps"] if self.options.budget_doublings else []
        return [*self.compared, self.options.axis, RATE, "seed", *doubled]

    @property
    def folder(self) -> StudyFolder:
        """The study's folder."""
        from memcap.records.study_folder import StudyFolder

        config = self.configurations[0].cell.config
        return StudyFolder(Path(config.paths.outputs), str(config.study))

    @property
    def seeds(self) -> dict[str, list[int]]:
        """The seeds that choose, and the fresh ones."""
        seed = self.configurations[0].cell.config.seed
        return {"choosing": list(self.options.choosing(seed)), "fresh": list(self.options.fresh(seed))}

    def name(self, configuration: Configuration) -> str:
        """What tells it apart; of a single one what was given, or its model."""
        given = [t for axis in self.axes if not axis.swept for t in axis.steps[0] if t.startswith(NAMING)]
        return " ".join(configuration.own or given) or f"model={configuration.cell.config.model.kind}"

    def cell(self, configuration: Configuration, trial: Trial) -> tuple[Cell, list[str]]:
        """The cell of a trial, and all of its overrides, as a launcher gets them."""
        changes = [
            f"{self.options.axis}={trial.size}",
            f"{RATE}={configuration.rate(trial.setting)!r}",
            f"seed={trial.seed}",
        ]
        if trial.doublings:
            changes.append(f"budget.steps={configuration.cell.config.budget.steps * 2**trial.doublings}")
        overrides = [*configuration.overrides, *changes]
        return Cell.from_values(self.composer.compose(overrides), (*configuration.own, *changes)), overrides

    def num_parameters(self, configuration: Configuration) -> int:
        """P of the configuration; at the size that was found, where a size is what is searched."""
        from memcap.search.trial import Trial

        found = configuration.search.found
        if found is None:
            return configuration.cell.config.num_parameters
        return self.cell(configuration, Trial(found.size, found.setting, 0))[0].config.num_parameters

    def _composed(
        self, overrides: list[str], own: tuple[str, ...], number: int | None
    ) -> tuple[Cell, dict[str, Any]]:
        """A cell of a configuration, and its values."""
        values = self.composer.compose(overrides)
        data = values["data"]
        if self.options.goal == CAPACITY and data.get("num_samples") and data.get("batch_size"):
            data["num_samples"] = max(data["num_samples"], data["batch_size"])  # N is anything from there on
        cell = Cell.from_values(values, own, number)
        if cell.config.data.num_samples is None or cell.config.data.targets != "classes":
            raise BadInput(
                f"a search needs labels and a finite N, got data={cell.config.data.kind}; use data=random_labels"
            )
        return cell, values

    def _study(self, cell: Cell, overrides: list[str]) -> str:
        """A name that the options of the search enter: another search is another study, of the same runs."""
        preset = None
        if "experiment" not in self.compared:
            preset = self.composer.choices(overrides).get("experiment")
        fixed = [text for axis in self.axes if not axis.swept for text in axis.steps[0]]
        stem, _, code = study_name(cell.config, preset, self.compared, fixed).rpartition("-")
        return f"{self.options.goal}-{stem}-{digest([code, vars(self.options)])[:6]}"

    def _configuration(
        self, overrides: tuple[str, ...], own: tuple[str, ...], cell: Cell, values: dict[str, Any]
    ) -> Configuration:
        from memcap.search.configuration import ConfigurationSearch
        from memcap.search.peak import PeakSearch
        from memcap.search.threshold import ThresholdSearch

        options, config = self.options, cell.config
        given = options.given_rates()
        settings: Sequence[int] = OWN_SETTINGS if given is None else range(len(given))
        rate: Callable[[int], float] = functools.partial(rate_near, config.optimizer.learning_rate)
        if given is not None:
            rate = given.__getitem__
        seeds, is_capacity = options.choosing(config.seed), options.goal == CAPACITY
        look: PeakSearch | ThresholdSearch
        if is_capacity:
            prior = config.num_parameters / math.log2(config.data.num_outputs)  # one bit per parameter
            lattice = _lattice(options, prior, config.data.batch_size or 1)
            look = PeakSearch(lattice, settings, seeds, extends=given is None)
        else:
            look = ThresholdSearch(_lattice(options, prior_size(values, options.axis), 1), settings, seeds)
        search = ConfigurationSearch(
            look,
            options.fresh(config.seed),
            options.budget_doublings,
            options.budget_tolerance,
            confirms_below=not is_capacity,
        )
        return Configuration(overrides, own, cell, rate, search)


def compared_axes(axes: Sequence[Axis], options: SearchOptions) -> tuple[list[Axis], SearchOptions]:
    """The axes without what is searched or chosen; rates that are swept are the options' rates."""
    others = []
    for axis in axes:
        bare = [key.lstrip("+") for key in axis.keys]
        if options.axis in bare:
            raise BadInput(
                f"{axis.steps[0][bare.index(options.axis)]}: {options.axis} is what is searched; leave it out, or bound"
                " it with search.smallest and search.largest"
            )
        if "seed" in bare and axis.swept:
            raise BadInput(
                "seed: how many seeds a search takes is search.seeds and search.fresh_seeds; leave it out"
            )
        if "restart" in bare and axis.swept:
            raise BadInput(
                "restart: a search trains each seed once; leave it out, or sweep it without a search"
            )
        if RATE not in bare or not axis.swept:
            others.append(axis)
        elif len(bare) > 1:
            raise BadInput(
                f"{RATE} cannot go in step with {', '.join(k for k in bare if k != RATE)}: it is chosen"
            )
        elif options.learning_rates is not None:
            raise BadInput(f"{RATE} is swept and search.learning_rates is set; give one of them")
        else:
            rates = tuple(step[0].partition("=")[2] for step in axis.steps)
            options = replace(options, learning_rates=rates)
            options.given_rates()
    return others, options


def prior_size(values: dict[str, Any], axis: str) -> float:
    """The smallest power of two of a key at which a network has a parameter for every bit; else its own value."""
    *path, name = axis.split(".")
    node: Any = values
    for part in path:
        node = node.get(part) if isinstance(node, dict) else None
    if not isinstance(node, dict) or name not in node:
        known = [f"{group}.{key}" for group, part in values.items() if isinstance(part, dict) for key in part]
        raise BadInput(f"search.axis={axis} is not a key of the configuration{nearest(axis, known)}")
    before = node[name]
    if type(before) is not int or path[:1] != ["model"]:
        raise BadInput(
            f"search.axis must be a whole number of the model, such as model.width, got {axis} = {before}"
        )
    try:
        for power in range(LARGEST_POWER):
            node[name] = 2**power
            config = RunConfig.from_dict(values)
            assert config.data.num_samples is not None
            if config.num_parameters >= config.data.num_samples * math.log2(config.data.num_outputs):
                return float(node[name])
    finally:
        node[name] = before
    return float(before)


def rate_near(centre: float, setting: int) -> float:
    """The rates 1, 3, 10, 30, ... and 0.3, 0.1, 0.03, ... times the optimizer's, by their place beside it."""
    decade, rest = divmod(setting, 2)
    # Rounded, so that 0.3 · 0.01 is 0.003 as one types it, which has the same id.
    return float(f"{centre * (3.0 if rest else 1.0) * 10.0**decade:.6g}")


def _lattice(options: SearchOptions, prior: float, least: int) -> Lattice:
    low = max(options.smallest or 1, least)
    high = options.largest or max(math.ceil(RANGE * prior), 2 * low)
    if high <= low:
        raise BadInput(f"search.largest must be above {low}, the smallest size there is, got {high}")
    return Lattice(min(max(prior, low), high), options.tolerance, low, high)
