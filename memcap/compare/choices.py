"""What the command line of ``memcap.compare`` asks for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from memcap.errors import BadInput, nearest

USAGE = """python -m memcap.compare study=NAME[,NAME2]     studies by name or pattern ('width*')
       python -m memcap.compare folder=DIR             all runs of an outputs folder
       python -m memcap.compare source=wandb:ENTITY/PROJECT [study=NAME]   runs of a W&B project, of a group

  y=bits|bits_clamped|samples|METRIC    what capacity is counted in (what the study's preset says, else bits)
  x=KEY hue=KEY facet=KEY               which compared keys go where (the preset's, else found from what varies)
  nuisance=KEY[,KEY2]                   chosen like N (optimizer.learning_rate); nuisance= for none
  selection_seeds=0,1,2                 seeds that choose; the others measure (without: both halves in turn)
  figures=0 report=0                    leaves figures, or report.html, out; removes earlier ones
  verify=1                              trains one random run again, alone, and compares
  paths.outputs=DIR                     where the studies are (outputs)
  tracking.mode=online|auto|offline     also logs the comparison as one W&B run (disabled); comparing again updates it
  tracking.project=NAME tracking.entity=NAME   where to (the runs' own)"""

KEYS = ("study", "folder", "source", "y", "x", "hue", "facet", "nuisance", "selection_seeds", "figures", "report",
        "verify", "paths.outputs", "tracking", "tracking.mode", "tracking.project", "tracking.entity")  # fmt: skip
MODES = ("disabled", "auto", "online", "offline")


@dataclasses.dataclass(frozen=True)
class Choices:
    """What the command line asks for."""

    study: tuple[str, ...] = ()
    folder: str | None = None
    source: str | None = None
    y: str | None = None
    x: str | None = None
    hue: str | None = None
    facet: str | None = None
    nuisance: tuple[str, ...] | None = None
    selection_seeds: tuple[int, ...] | None = None
    figures: bool = True
    report: bool = True
    verify: bool = False
    outputs: str = "outputs"
    mode: str = "disabled"
    project: str | None = None
    entity: str | None = None


def parse(words: Sequence[str]) -> Choices:
    """``key=value`` words; BadInput for one that is not understood."""
    given = _words(words)
    study = tuple(_list(given.get("study", "")))
    if (bool(study) or "source" in given) == ("folder" in given):
        raise BadInput(
            "give study=NAME[,NAME2], folder=DIR or source=wandb:ENTITY/PROJECT; python -m memcap.compare --help"
            " lists the keys"
        )
    if "source" in given and given.get("verify", "0") in ("1", "true"):
        raise BadInput("verify=1 compares with run folders, got source=; verify where the runs were trained")
    for switch in ("figures", "report", "verify"):
        if given.get(switch, "0") not in ("0", "1", "true", "false"):
            raise BadInput(f"{switch} must be 1 or 0, got {given[switch]}")
    return Choices(
        study=study,
        folder=given.get("folder"),
        source=given.get("source"),
        y=given.get("y"),
        x=given.get("x"),
        hue=given.get("hue"),
        facet=given.get("facet"),
        nuisance=tuple(_list(given["nuisance"])) if "nuisance" in given else None,
        selection_seeds=_seeds(given["selection_seeds"]) if "selection_seeds" in given else None,
        figures=given.get("figures", "1") in ("1", "true"),
        report=given.get("report", "1") in ("1", "true"),
        verify=given.get("verify", "0") in ("1", "true"),
        outputs=given.get("paths.outputs", "outputs"),
        mode=_mode(given),
        project=given.get("tracking.project"),
        entity=given.get("tracking.entity"),
    )


def _words(words: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in KEYS or not equals:
            hint = nearest(key, KEYS)
            raise BadInput(f"{word} is not understood{hint}; python -m memcap.compare --help lists the keys")
        if key in given:
            raise BadInput(f"{key} is given twice; give {key}={given[key]},{value} or one of the two")
        given[key] = value
    return given


def _mode(given: dict[str, str]) -> str:
    """``tracking.mode``, or ``tracking=MODE`` for short."""
    mode = given.get("tracking.mode", given.get("tracking", "disabled"))
    if mode not in MODES or given.get("tracking", mode) != mode:
        raise BadInput(f"tracking.mode must be one of {', '.join(MODES)}, got {mode}")
    return mode


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.strip("[]").split(",") if part.strip()]


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in _list(text))
    except ValueError:
        raise BadInput(f"selection_seeds must be whole numbers like 0,1,2, got {text}") from None
