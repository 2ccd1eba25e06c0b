"""Configurations of cells: Hydra composes once per choice of groups, value overrides go onto a copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from hydra.core.config_loader import ConfigLoader
from hydra_plugins.memcap.trees import (
    copied,
    is_plain,
    keyed_leaves,
    overlap,
    set_leaf,
    texts_in,
    without_hydra,
)
from omegaconf import DictConfig, OmegaConf

INTERPOLATION = "${"
HYDRA_RESOLVER = "${hydra:"
MISSING = "???"


class ParsedOverride(NamedTuple):
    """An override as Hydra's grammar reads it; ``simple``: sets the value of one existing key, if that is a leaf."""

    text: str
    key: str
    value: Any
    simple: bool


class Composition(NamedTuple):
    """What Hydra makes of a choice of groups: plain unresolved values, and what it takes to resolve them."""

    values: dict[str, Any]
    choices: dict[str, str | None]
    sweeper_params: Any
    missing: frozenset[str]
    interpolated: bool
    copyable: bool  # False where only Hydra knows the result: typed or read-only nodes, ${hydra:...}


class CellComposer:
    """Composes cells of a sweep exactly as Hydra's ``load_sweep_config`` does, at a hundredth of its time.

    Hydra takes about 60 ms for a composition. Overrides that choose groups, add, delete or replace whole nodes
    are left to it, once for each distinct list of them; what remains only sets leaves, which is done on a copy.
    Anything else that turns up falls back to Hydra for that cell, so that a doubt costs time and never a number.
    """

    def __init__(self, config_loader: ConfigLoader, master_config: DictConfig) -> None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        self.config_loader = config_loader
        self.master_config = master_config
        self._parser = OverridesParser.create()
        self._parsed: dict[str, ParsedOverride] = {}
        self._groups: dict[str, bool] = {}
        self._compositions: dict[tuple[str, ...], Composition] = {}

    def compose(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The resolved configuration of one cell as plain values, without the ``hydra`` node.

        ``overrides`` are all of the cell's, as a launcher gets them. Raises BadInput with one line for what
        Hydra refuses: an unknown key or option, a missing value, an interpolation that leads nowhere.
        """
        structural, simple = self._partition(overrides)
        composition = self._composition(structural)
        if not composition.copyable:
            return self._compose_by_hydra(overrides)
        values = copied(composition.values)
        for override in simple:
            if not set_leaf(values, override.key, override.value):
                return self._compose_by_hydra(overrides)
        if composition.interpolated or any(INTERPOLATION in o.text for o in simple):
            return self._resolve(values, overrides)
        self._check_missing(composition.missing, simple)
        return values

    def compose_all(self, cells: Iterable[Sequence[str]]) -> Iterator[dict[str, Any]]:
        """One configuration after another, so that only one has to be in memory."""
        return map(self.compose, cells)

    def choices(self, overrides: Sequence[str]) -> Mapping[str, str | None]:
        """The option that a cell takes in every group, for example ``{'model': 'mlp', 'experiment': None}``."""
        return self._composition(self._partition(overrides)[0]).choices

    def known_keys(self) -> set[str]:
        """The keys of everything composed so far, with dots."""
        return {
            key for composition in self._compositions.values() for key, _ in keyed_leaves(composition.values)
        }

    def foreign_sweeps(self) -> list[str]:
        """Cells' choices that bring a sweep of their own (``hydra.sweeper.params``), which comes too late there."""
        mine = _sweeper_params(self.master_config)
        return [" ".join(k) for k, c in self._compositions.items() if c.sweeper_params not in (None, mine)]

    def foreign_launchers(self) -> list[str]:
        """Cells' choices that bring a launcher of their own, or its options, which come too late there."""
        mine = self.master_config.hydra.runtime.choices
        groups = ("hydra/launcher", "launcher")
        return [
            " ".join(key)
            for key, composition in self._compositions.items()
            if any(composition.choices.get(group) != mine.get(group) for group in groups)
        ]

    def is_group(self, key: str) -> bool:
        """Whether the key is a group with options (``model``) and not a value (``model.width``)."""
        if "." in key or not key:
            return False
        if key not in self._groups:
            self._groups[key] = bool(self._options(key))
        return self._groups[key]

    def parse(self, text: str) -> ParsedOverride:
        """An override in the words of Hydra's grammar, remembered: ANTLR takes a tenth of a millisecond."""
        if text not in self._parsed:
            self._parsed[text] = self._parse(text)
        return self._parsed[text]

    def _options(self, group: str) -> list[str]:
        hydra = self.master_config.hydra  # what hydra.searchpath adds is found through these two only
        return self.config_loader.get_group_options(
            group, None, config_name=hydra.job.config_name, overrides=list(hydra.overrides.hydra)
        )

    def _parse(self, text: str) -> ParsedOverride:
        from hydra.core.override_parser.types import OverrideType
        from hydra.errors import HydraException

        try:
            parsed = self._parser.parse_overrides([text])[0]
        except HydraException as error:
            _refuse(error)
        key, value = parsed.key_or_group, parsed.value()
        simple = (
            parsed.type is OverrideType.CHANGE
            and parsed.package is None
            and not parsed.is_sweep_override()
            and not parsed.is_hydra_override()
            and not isinstance(value, dict)
            and not self.is_group(key)
        )
        return ParsedOverride(text, key, value, simple)

    def _partition(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], list[ParsedOverride]]:
        """What Hydra has to compose, and the leaves to set afterwards.

        Hydra applies values in their order, so a leaf that is set before something structural below or above
        the same key belongs to the first part.
        """
        structural: list[str] = []
        simple: list[ParsedOverride] = []
        for parsed in map(self.parse, overrides):
            if parsed.simple:
                simple.append(parsed)
                continue
            before = [o for o in simple if overlap(o.key, parsed.key)]
            structural += [o.text for o in before]
            simple = [o for o in simple if o not in before]
            structural.append(parsed.text)
        return tuple(structural), simple

    def _composition(self, structural: tuple[str, ...]) -> Composition:
        if structural not in self._compositions:
            config = self._load(structural)
            choices = OmegaConf.to_container(config.hydra.runtime.choices)
            assert isinstance(choices, dict)
            app = without_hydra(config)
            values = OmegaConf.to_container(app, resolve=False)
            assert isinstance(values, dict)
            leaves = dict(keyed_leaves(values))
            texts = [text for leaf in leaves.values() for text in texts_in(leaf)]
            self._compositions[structural] = Composition(
                values={str(k): v for k, v in values.items()},
                choices={str(k): v for k, v in choices.items()},
                sweeper_params=_sweeper_params(config),
                missing=frozenset(key for key, leaf in leaves.items() if leaf == MISSING),
                interpolated=any(INTERPOLATION in text for text in texts),
                copyable=is_plain(app) and not any(HYDRA_RESOLVER in text for text in texts),
            )
        return self._compositions[structural]

    def _load(self, overrides: Sequence[str]) -> DictConfig:
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError

        try:
            return self.config_loader.load_sweep_config(self.master_config, list(overrides))
        except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
            _refuse(error)

    def _compose_by_hydra(self, overrides: Sequence[str]) -> dict[str, Any]:
        from hydra.core.hydra_config import HydraConfig

        config = self._load(overrides)
        instance = HydraConfig.instance()
        before = instance.cfg
        instance.set_config(config)  # ${hydra:...} reads it
        try:
            return self._to_plain(without_hydra(config))
        finally:
            instance.cfg = before

    def _resolve(self, values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
        if any(HYDRA_RESOLVER in text for text in overrides):
            return self._compose_by_hydra(overrides)
        config = OmegaConf.create(values)
        OmegaConf.copy_cache(
            from_config=self.master_config, to_config=config
        )  # ${now:...} is one for all cells
        return self._to_plain(config)

    def _to_plain(self, config: DictConfig) -> dict[str, Any]:
        from omegaconf.errors import OmegaConfBaseException

        try:
            values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        except OmegaConfBaseException as error:
            _refuse(error)
        assert isinstance(values, dict)
        return {str(key): value for key, value in values.items()}

    def _check_missing(self, missing: frozenset[str], simple: Sequence[ParsedOverride]) -> None:
        left = set(missing)
        for override in simple:
            if override.value == MISSING:
                left.add(override.key)
            else:
                left.discard(override.key)
        if left:
            from memcap.errors import BadInput

            key = min(left)
            raise BadInput(f"{key} has no value (it is ???); add {key}=VALUE")


def _sweeper_params(config: DictConfig) -> Any:
    params = OmegaConf.select(config, "hydra.sweeper.params")
    return OmegaConf.to_container(params) if isinstance(params, DictConfig) else params


def _refuse(error: Exception) -> NoReturn:
    """Raises what the user can act on in place of Hydra's error, or the error itself."""
    from memcap.command_line import explain

    explained = explain(error)
    if explained is None:
        raise error
    raise explained from None
