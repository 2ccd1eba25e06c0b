"""The W&B client as memcap uses it: how a run is opened, and what its releases of 0.31 need to behave.

Nothing here is imported by a tracker that is disabled, and ``wandb`` only inside the functions.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from memcap.errors import BadInput

INIT_TIMEOUT_S: Final = 8.0
FINISH_TIMEOUT_S: Final = 8.0
GRACE_S: Final = 2.0  # for the client's service to end when it has nothing left to upload

# Off is what costs time or files and says nothing about memorization: console capture (it also mixes the logs
# of concurrent runs), machine statistics, the state of git, package lists, copies of the code, links.
_LEAN: Final[dict[str, Any]] = {
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "finish_timeout": FINISH_TIMEOUT_S,
    "finish_timeout_raises": True,
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
_own_variables: dict[str, str] = {}  # as set for an earlier study of this process
_hushed = False
_OF_A_SWEEP: Final = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")


def prepare(folder: Path, in_sweep: bool = False) -> Path | None:
    """Make ``folder/wandb``, and keep the client's own files below it; returns the topmost folder that is new.

    The client reads its variables when its service starts. Its log and the copies of tables would go below the
    home folder; its reports on itself can hold up the end of the process for 20 s where a network swallows
    them. A WANDB_MODE that the client does not know would keep it from starting; the next study of this process
    still reads what it meant. An agent's
    variables make every run that is opened the agent's run, so they stay only where there is one run.
    """
    new = _make(folder / "wandb")
    mode = os.environ.get("WANDB_MODE")
    if mode == "dryrun":
        os.environ["WANDB_MODE"] = "offline"
    elif mode not in (None, "online", "offline", "disabled", "shared"):
        del os.environ["WANDB_MODE"]
    if not in_sweep:
        for name in _OF_A_SWEEP:
            os.environ.pop(name, None)
    for name in ("cache", "data", "artifacts"):
        variable = "WANDB_ARTIFACT_DIR" if name == "artifacts" else f"WANDB_{name.upper()}_DIR"
        if os.environ.get(variable) in (None, _own_variables.get(variable)):
            os.environ[variable] = _own_variables[variable] = str(folder / "wandb" / name)
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    return new


def check_settings(**values: Any) -> None:
    """Raises BadInput for what the client refuses by itself, such as a project's name with a slash."""
    import wandb

    try:
        wandb.Settings(**values)
    except Exception as error:
        text = re.sub(
            r"^\d+ validation errors? for Settings \S+ (Value error, )?| \[type=.*", "", one_line(error)
        )
        raise BadInput(f"tracking: {text.rstrip('.')}; W&B takes no such value") from None


def open_run(
    folder: Path,
    mode: str,
    *,
    run_id: str,
    name: str,
    config: Mapping[str, Any],
    axis: str = "train/step",
    in_sweep: bool = False,
    goes_on: bool = False,
    finish_timeout_s: float = FINISH_TIMEOUT_S,
    **shared: Any,
) -> Any:
    """The client's object of a run, with ``axis`` as the axis of all its metrics.

    ``shared``: project, entity, group, job_type, tags, notes. Raises whatever the client raises. It then keeps
    the id in use until ``end_service``. A run ``in_sweep`` takes id, project and entity from the agent's variables.
    One that ``goes_on`` is continued where the server has it, after its last row.
    """
    import wandb

    folder.mkdir(parents=True, exist_ok=True)  # the client would fall back to the system's temporary folder
    if (cache := _own_variables.get("WANDB_CACHE_DIR")) == os.environ.get("WANDB_CACHE_DIR") and cache:
        # The client would make it for its user only, and a colleague could not go on with this study.
        Path(cache, "wandb", "logs").mkdir(parents=True, exist_ok=True)
    if in_sweep:
        shared = {**shared, "project": None, "entity": None}
    client = wandb.init(
        id=None if in_sweep else run_id,
        name=name,
        config=dict(config),
        dir=str(folder),
        mode=mode,  # type: ignore[arg-type]
        reinit="create_new",
        # Not offline: `wandb sync` would put the rows after those of the server, also those that are there.
        resume="allow" if goes_on and mode == "online" else None,
        settings=wandb.Settings(**_LEAN | {"finish_timeout": finish_timeout_s}),
        **shared,
    )
    client.define_metric(axis)
    client.define_metric("*", step_metric=axis)
    return client


def end_service(timeout_s: float = GRACE_S) -> bool:
    """End the client's service: then all files are whole, and no id is in use any more.

    ``finish`` of a run returns some milliseconds before the last of its file is written. A service that does
    not end in time is killed: it writes to its files every second. The service is not ended, and the answer is
    False, while a run of the user's own is open: it would end with it.
    """
    wandb = sys.modules.get("wandb")
    if wandb is None or wandb.run is not None:
        return False
    process = _service_process()
    _hush()

    def end() -> None:
        with suppress(Exception, SystemExit):  # a service that was killed: it is gone all the same
            wandb.teardown()

    thread = threading.Thread(target=end, name="memcap-wandb-end", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive() and process is not None:
        with suppress(OSError):
            process.kill()
        # The next run needs a new service: on a busy machine a moment passes until the old one is gone.
        thread.join(3.0)
    return True


def _hush() -> None:
    """Keep the client from printing, for each run and row and from its own threads, that its service is gone."""
    global _hushed
    import wandb

    with suppress(Exception):
        wandb.termsetup(wandb.Settings(silent=True), None)
    if _hushed:
        return
    _hushed = True
    logging.getLogger("asyncio").addFilter(lambda record: "socket.send() raised" not in record.getMessage())
    say = threading.excepthook

    def say_what_is_not_the_clients(args: threading.ExceptHookArgs) -> None:
        if not _of_the_client(args):
            say(args)

    threading.excepthook = say_what_is_not_the_clients


def _of_the_client(args: threading.ExceptHookArgs) -> bool:
    """Whether a thread is the client's: by its name, or by what it was started with (``NetStatThr`` and others)."""
    if args.thread is not None and args.thread.name.startswith("wandb-"):
        return True
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(args.exc_traceback))
    return next((name for name in modules if name != "threading"), "").partition(".")[0] == "wandb"


def remove_fragment(folder: Path, run_id: str, since: float) -> None:
    """Delete what a run left that could not be opened: `wandb sync` would make an empty run of it."""
    pattern = re.compile(rf"(offline-)?run-\d{{8}}_\d{{6}}-{re.escape(run_id)}")
    for path in (folder / "wandb").glob(f"*run-*-{run_id}"):
        if pattern.fullmatch(path.name) and path.stat().st_mtime >= since - 1:
            shutil.rmtree(path, ignore_errors=True)


def refused_rows(files: Path) -> str | None:
    """Why the server did not take a run's rows, or None; ``finish`` does not say it.

    On an answer that it does not try again (403, say) the client gives up at once, and says so in its log only.
    """
    with suppress(OSError):
        text = (files / "logs" / "debug-internal.log").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"filestream: fatal error[^\n]*?(\d{3} [A-Za-z ]+)", text):
            return f"HTTP {found[1].strip().removesuffix(' url')}"
        if "filestream: fatal error" in text:
            return "it gave up uploading rows"
    return None


def one_line(error: BaseException, length: int = 200) -> str:
    """An error's message on one line of bounded length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[: length - 3] + "..."


def _make(folder: Path) -> Path | None:
    new = None
    for path in (folder, *folder.parents):
        if path.exists():
            break
        new = path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        if new is not None:
            shutil.rmtree(new, ignore_errors=True)
        raise BadInput(
            f"{folder} cannot be written, where W&B's files go: {error.strerror}; set tracking.folder (WANDB_DIR) or"
            " paths.outputs, or use tracking=disabled"
        ) from None
    return new


def _service_process() -> Any:
    """The process of the client's service, from its internals; None where they have moved."""
    with suppress(Exception):
        from wandb.sdk import wandb_setup

        return wandb_setup.singleton()._connection._proc._process  # type: ignore[union-attr]
    return None
