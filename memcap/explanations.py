"""What the user did wrong, in one line, in place of what Hydra, OmegaConf or YAML say about it."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from memcap.errors import BadInput

# What Hydra says (a pattern) and what the user needs to read; {0}, {1} are the pattern's groups.
EXPLANATIONS = {
    r"Ambiguous value for argument '(.+)'": "{0} gives several values to one run; add -m to train them all, or"
    " write a list as KEY=[a,b]",
    r"Sweep parameters '(.+)' requires --multirun": "{0} gives several values to one run; add -m to train them all",
    r"Sweeping over Hydra's configuration is not supported : '(.+)'": "{0} cannot be swept: what stands under"
    " hydra. is the same for the whole sweep",
    r"Could not append to config. An item is already at '(.+)'": "{0} exists already; drop the + to override it",
    r"Could not delete (?:from config\. )?'(.+?)'": "~{0} deletes nothing: there is no such key",
    r"The value of '(.+)' is (.+) and not (.+)\.": "~{0}={2} deletes nothing: {0} is {1}",
    r"Multiple values for (\S+)\. To": "{0} has an option already; choose another with {0}=OPTION, without a +",
    r"force-add of config groups is not supported: '\+\+(.+)'": "++{0}: a group is chosen without +, as {0}",
    r"Override (\S+) looks like .* config group '(.+)' does not exist": "{0}: there is no group {1}; --help lists"
    " the groups",
    r"Could not override '([^']+@[^']+)'": "{0}=OPTION: @ changes the place of a group, and nothing is there; write"
    " GROUP=OPTION",
    r"Config group override must be a string or a list. Got (\w+)": "a group takes the name of an option, as in"
    " model=mlp, got a value of type {0}",
    r"In 'hardware/(\w+)': Could not override 'launcher'": "hardware={0} is for sweeps of memcap.train: no tasks are"
    " submitted here; use hardware=cpu or hardware=cuda",
    r"Additional config directory '(.+)' not found": "--config-dir: there is no directory {0}",
    r"Cannot find primary config '(.+?)'": "--config-name: there is no configuration {0}",
    r"The --resolve flag can only be used": "--resolve needs --cfg or --help",
    r"Only one of --run, --multirun": "only one of --run, --multirun, --cfg, --info and --shell-completion at a time",
}


def explain(error: BaseException) -> BadInput | None:
    """What the user did wrong, in one line, for an error of Hydra, OmegaConf or YAML; None for any other."""
    from hydra.errors import HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import (
        ConfigAttributeError,
        ConfigKeyError,
        GrammarParseError,
        InterpolationResolutionError,
        MissingMandatoryValue,
    )
    from yaml import YAMLError

    if isinstance(error, BadInput):
        return error
    cause, text = error.__cause__, str(error)
    if isinstance(error, OverrideParseException):
        return BadInput(_syntax(error.override, error.message))
    if isinstance(error, MissingConfigException) and error.options:
        return BadInput(_unknown_option(str(error.missing_cfg_file), error.options))
    if isinstance(cause, ConfigAttributeError | ConfigKeyError) and text.startswith("Could not override"):
        return BadInput(_unknown_key(text.split("'")[1], str(cause.full_key), cause.parent_node))
    for pattern, explanation in (
        EXPLANATIONS.items() if isinstance(error, HydraException | ValueError) else ()
    ):
        if found := re.search(pattern, text):
            return BadInput(explanation.format(*found.groups()))
    if isinstance(error, InterpolationResolutionError | MissingMandatoryValue | GrammarParseError):
        return BadInput(_interpolation(error))
    if isinstance(error, YAMLError):
        return BadInput("a configuration file is not valid YAML: " + " ".join(text.split()))
    if isinstance(error, HydraException):
        return BadInput(_one_line(f"{text}: {cause}" if cause and text else text or str(cause)))
    return None


def _syntax(override: str, message: str) -> str:
    lines = [
        line for line in message.splitlines() if not line.startswith(("See https", "Error parsing override"))
    ]
    if "missing EQUAL" in message:
        return f'expected key=value, got "{override}"'
    if found := re.search(r"input '(.+?)'", message):
        reason = f'at "{found[1]}"'
    elif message.startswith("LexerNoViableAlt"):
        reason = "(a quote is not closed, or a character is not allowed)"
    else:
        return f"{override} cannot be read: " + re.sub(
            r"^\w+ while evaluating", "in", _one_line("\n".join(lines))
        )
    key, _, value = override.partition("=")
    value = value.strip("'\"")
    return f"{override} cannot be read {reason}; put the value in quotes, also for the shell: \"{key}='{value}'\""


def _unknown_option(path: str, options: Sequence[str]) -> str:
    group, _, option = path.rpartition("/")
    matches = difflib.get_close_matches(option, options, n=1)
    hint = f" (did you mean {group}={matches[0]}?)" if matches else ""
    return f"{group}={option}: {group} has no option {option}{hint}; options: {', '.join(options)}"


def _unknown_key(key: str, failed: str, parent: Any) -> str:
    """``failed`` is the part of the key up to the first unknown name, ``parent`` the node that lacks it."""
    from omegaconf import DictConfig

    if not isinstance(parent, DictConfig):
        return f"{key} is not a key; --cfg job shows all keys"
    where, _, name = failed.rpartition(".")
    names = [str(n) for n in parent if where.startswith("hydra") or n not in ("hydra", "kind")]
    kind = parent.get("kind")
    of = f" of {where}={kind}" if kind else ""
    matches = difflib.get_close_matches(name, names, n=1)
    rest = key[len(failed) :]
    guess = (
        f"{where}.{matches[0]}{rest}".lstrip(".")
        if matches
        else _same_name_elsewhere(key, parent._get_root())
    )
    fix = f" (did you mean {guess}?)" if guess else f"; keys: {', '.join(names)}" if names else ""
    return f"{key} is not a key{of}{_owners(where, name)}{fix}"


def _owners(group: str, name: str) -> str:
    """', but of mlp, autoencoder' where other parts of the same group have the key."""
    from memcap.config.schema import COMPONENTS

    kinds = COMPONENTS.get(group, {}).items() if not name.startswith("_") else ()
    owners = [kind for kind, part in kinds if name in (field.name for field in dataclasses.fields(part))]
    return f", but of {', '.join(owners)}" if owners else ""


def _same_name_elsewhere(key: str, root: Any) -> str:
    name = key.rpartition(".")[2]
    for group in root:
        if group != "hydra" and isinstance(root._get_node(group), Mapping) and name in root._get_node(group):
            return f"{group}.{name}"
    return ""


def _interpolation(error: Any) -> str:
    what = str(error).split("\n", maxsplit=1)[0]
    if "Missing mandatory value" in what:
        return f"{error.full_key} has no value (it is ???); add {error.full_key}=VALUE"
    return f"{error.full_key}: {what}" if error.full_key else what


def _one_line(text: str) -> str:
    lines = (line.strip() for line in text.splitlines())
    return "; ".join(
        line for line in lines if line and not line.startswith(("See https", "full_key", "object_type"))
    )
