"""The W&B client as memcap uses it: how a run is opened, and what its releases of 0.31 need to behave.

Nothing here is imported by a tracker that is disabled, and ``wandb`` only inside the functions.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

INIT_TIMEOUT_S: Final = 30.0
FINISH_TIMEOUT_S: Final = 10.0

# Off is what costs time or files and says nothing about memorization: console capture (it also mixes the logs
# of concurrent runs), machine statistics, the state of git, package lists, copies of the code, links.
_LEAN: Final[dict[str, Any]] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "finish_timeout": FINISH_TIMEOUT_S,
    "init_timeout": INIT_TIMEOUT_S,
    "save_code": False,
    "silent": True,
    "symlink": False,
    "use_dot_wandb": False,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_save_requirements": False,
    # A killed process loses the rows of this many seconds; the client's own value is 15.
    "x_transaction_log_flush_interval": 1.0,
}


def prepare(folder: Path) -> None:
    """Keep the client's own files below ``folder/wandb``, and its reports on itself off, unless the user chose.

    The client reads this when its service starts. Its log would go to ~/.cache; its reports can hold up the
    end of the process for 20 s where a network swallows them. A WANDB_MODE that only memcap knows (auto, or
    empty) would keep the client from starting; the mode is given to it in any case.
    """
    if os.environ.get("WANDB_MODE") not in (None, "online", "offline", "disabled", "shared"):
        del os.environ["WANDB_MODE"]
    os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "wandb" / "cache"))
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")


def missing_credentials() -> str | None:
    """What is missing to log in, found the way the client finds it, but never by asking; None if nothing is."""
    import wandb
    from wandb.sdk.lib import wbauth

    try:
        base_url = wandb.setup(wandb.Settings(silent=True)).settings.base_url
        # wandb.login(prompt=False) answers False whenever WANDB_MODE=offline, and rewrites the settings file.
        found = wbauth.authenticate_session(
            host=base_url, source="memcap", prompt=False, update_session=False
        )
    except Exception as error:
        return one_line(error)
    return None if found else f"none for {base_url}"


def open_run(
    folder: Path,
    mode: str,
    *,
    run_id: str,
    name: str,
    config: Mapping[str, Any],
    project: str,
    entity: str | None,
    group: str,
    tags: tuple[str, ...],
    notes: str | None,
) -> Any:
    """The client's object of a new run, with ``train/step`` as the axis of all its metrics.

    Raises whatever the client raises. It then keeps the id in use until ``end_service``.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)  # the client would fall back to the system's temporary folder
    client = wandb.init(
        project=project,
        entity=entity,
        group=group,
        job_type="train",
        id=run_id,
        name=name,
        config=dict(config),
        dir=str(folder),
        tags=tags or None,
        notes=notes,
        mode=mode,  # type: ignore[arg-type]
        reinit="create_new",
        settings=wandb.Settings(**_LEAN),
    )
    client.define_metric("train/step")
    client.define_metric("*", step_metric="train/step")
    return client


def end_service() -> bool:
    """End the client's service: then all files are whole, and no id is in use any more.

    ``finish`` of a run returns some milliseconds before the last of its file is written. The service is not
    ended, and the answer is False, while a run of the user's own is open: it would end with it.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is not None:
        return False
    with suppress(Exception, SystemExit):  # a service that was killed: it is gone all the same
        wandb.teardown()
    return True


def remove_fragment(folder: Path, run_id: str, since: float) -> None:
    """Delete what an online run left that could not be opened: `wandb sync` would make an empty run of it."""
    pattern = re.compile(rf"run-\d{{8}}_\d{{6}}-{re.escape(run_id)}(-\d+)?")
    for path in (folder / "wandb").glob(f"run-*-{run_id}*"):
        if pattern.fullmatch(path.name) and path.stat().st_mtime >= since - 1:
            shutil.rmtree(path, ignore_errors=True)


def one_line(error: BaseException, length: int = 200) -> str:
    """An error's message on one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[: length - 3] + "..."
