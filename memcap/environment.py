"""W&B's own environment variables, between the command line and YAML in precedence."""

from __future__ import annotations

from collections.abc import Mapping

from memcap.config.override_text import quoted
from memcap.errors import BadInput

MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "dryrun": "offline"}


def tracking_overrides(arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """The arguments, with WANDB_MODE, WANDB_PROJECT and WANDB_ENTITY added as overrides where they are silent.

    A key on the command line wins over the variable, the variable over YAML.
    """
    given = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    added = []
    for key in ("project", "entity"):
        value = environment.get(f"WANDB_{key.upper()}")
        if value and f"tracking.{key}" not in given:
            added.append(f"tracking.{key}={quoted(value)}")
    mode = environment.get("WANDB_MODE")
    if mode and not given & {"tracking.mode", "tracking"}:
        if mode not in MODES:
            raise BadInput(f"WANDB_MODE must be one of {', '.join(MODES)}, got {mode!r}")
        added.append(f"tracking.mode={MODES[mode]}")
    return arguments + added
