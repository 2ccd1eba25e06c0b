"""W&B's own environment variables, between the command line and YAML in precedence."""

from __future__ import annotations

import os
from collections.abc import Mapping

from memcap.config.override_text import quoted
from memcap.errors import BadInput

MODES = {"online": "online", "offline": "offline", "disabled": "disabled", "dryrun": "offline"}
VARIABLES = {
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "group": "WANDB_RUN_GROUP",
    "job_type": "WANDB_JOB_TYPE",
    "notes": "WANDB_NOTES",
}


def tracking_overrides(arguments: list[str], environment: Mapping[str, str]) -> list[str]:
    """The arguments, with W&B's variables added as overrides of ``tracking`` where they are silent.

    A key on the command line wins over the variable, the variable over YAML. Variables that name one run
    (WANDB_NAME, WANDB_RUN_ID, WANDB_RESUME) say nothing here: a study makes many.
    """
    given = {argument.lstrip("+").partition("=")[0] for argument in arguments}
    values = {key: quoted(environment.get(name, "")) for key, name in VARIABLES.items()}
    tags = [tag.strip() for tag in environment.get("WANDB_TAGS", "").split(",") if tag.strip()]
    values["tags"] = f"[{','.join(map(quoted, tags))}]" if tags else "''"
    values["folder"] = quoted(_folder(environment))
    added = [
        f"tracking.{key}={value}"
        for key, value in values.items()
        if value != "''" and f"tracking.{key}" not in given
    ]
    mode = environment.get("WANDB_MODE")
    # The option wandb leaves the mode open; another one, such as disabled, says it.
    options = [argument for argument in arguments if argument.startswith("tracking=")]
    if mode and "tracking.mode" not in given and options in ([], ["tracking=wandb"]):
        if mode not in MODES:
            raise BadInput(f"WANDB_MODE must be one of {', '.join(MODES)}, got {mode!r}")
        added.append(f"tracking.mode={MODES[mode]}")
    return arguments + added


def agent_run_id(environment: Mapping[str, str]) -> str | None:
    """The id of the W&B run that ``wandb agent`` expects of this process; None where no agent started it."""
    return (environment.get("WANDB_RUN_ID") if environment.get("WANDB_SWEEP_ID") else None) or None


def _folder(environment: Mapping[str, str]) -> str:
    folder = environment.get("WANDB_DIR", "")
    # An agent sets it to where it was started, when the user did not.
    return "" if environment.get("WANDB_SWEEP_ID") and folder == os.getcwd() else folder
