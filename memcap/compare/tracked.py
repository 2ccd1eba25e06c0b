"""A comparison as one W&B run: the capacity table, fits, figures, and all its files as an artifact.

The run's id follows from what is compared, see ``identity``, so comparing again adds a row to the same run. It is of
the job type ``compare`` in the group of its study, and it is logged when the files are written: they are whole whatever
happens here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pandas as pd

from memcap.compare.comparison import Comparison
from memcap.compare.quantity import SHORT_NAMES
from memcap.compare.study_choices import DEFAULT_Y
from memcap.compare.tracked_content import description, gone, is_picture, pictures, summary, tables
from memcap.compare.wandb_source import COMPARE_JOB, parse_source
from memcap.config.schema import TrackingConfig
from memcap.records import wandb_client
from memcap.records.run_folder import RunFolder
from memcap.records.wandb_client import one_line, open_run, refused_rows
from memcap.records.wandb_session import WandbSession

AXIS: Final = "compare/runs"
TIMEOUT_S: Final = 60.0  # for the server to take everything
_TRIES: Final = 5  # of ids, where somebody has deleted the run of one on the server


class TrackedComparison:
    """The W&B run of a comparison. Making it asks the server, before any work; ``log`` is called with the files.

    ``mode`` is ``online``, ``offline`` or ``auto``, with the meanings of ``tracking.mode``; project and entity are
    those of the runs where they are None. Raises ``BadInput`` for a project or entity that is refused, and where
    ``online`` is asked for, no credentials or no server. One at a time: ``log`` ends the client's service.
    """

    def __init__(
        self,
        comparison: Comparison,
        folder: Path,
        mode: str,
        project: str | None = None,
        entity: str | None = None,
    ) -> None:
        frame, metric = comparison.frame, comparison.quantity.metric
        own, group = _place_of(frame), _name(frame)
        self.name = group if metric == SHORT_NAMES[DEFAULT_Y] else f"{group} y={metric}"
        tracking = TrackingConfig(
            mode=mode, per="run", project=project or own[1], entity=entity or own[0], group=group[:128],
            job_type=COMPARE_JOB, tags=(), notes=None, folder=None, charts="none", max_live=1, max_runs=1,
        )  # fmt: skip
        self.wandb_id = f"compare-{hashlib.sha256(identity(comparison).encode()).hexdigest()[:12]}"
        self._tracking = tracking
        self._session = WandbSession(tracking, self.name, folder, None, AXIS)
        self._session.prepare()
        if self._session.trouble:
            _warn(f"going on offline: {self._session.trouble}")

    def log(self, comparison: Comparison, files: Sequence[Path]) -> str | None:
        """Adds this comparison to its W&B run, a minute at most: the run's page, or the folder of its offline files.

        None, and one warning, where the server or the client did not take it.
        """
        done: dict[str, Any] = {}

        def work() -> None:
            try:
                done["place"] = self._log(comparison, files)
            except Exception as error:
                done["error"] = error

        thread = threading.Thread(target=work, name="memcap-wandb-compare", daemon=True)
        thread.start()
        thread.join(TIMEOUT_S)
        wandb_client.end_service()
        if (
            "place" in done and self._session.mode == "online"
        ):  # the server has it all, earlier offline files too
            shutil.rmtree(self._session.folder / "wandb", ignore_errors=True)
        elif "place" not in done:
            error = done.get("error") or TimeoutError(f"the server did not take it within {TIMEOUT_S:.0f} s")
            _warn(f"{one_line(error)} (the files are complete; the same command tries again)")
        return done.get("place")

    def _log(self, comparison: Comparison, files: Sequence[Path]) -> str:
        mode, wandb_id, earlier = self._session.mode, self.wandb_id, self._files_here()
        for number in range(2, _TRIES + 2):
            try:
                client = self._open(mode, wandb_id, comparison)
                break
            except Exception as error:
                if "deleted" not in str(error) or number > _TRIES:
                    raise
                wandb_id = f"{self.wandb_id}-{number}"
        here = Path(client.dir).parent
        client.log({AXIS: len(comparison.frame), **tables(comparison), **pictures(files)})
        new = summary(comparison)
        client.summary.update({**dict.fromkeys(gone(client.summary.keys(), new)), **new})
        client.log_artifact(self._artifact(files))
        client.finish(exit_code=0)
        if mode == "online" and (reason := refused_rows(here)):
            raise ConnectionError(f"the server refuses the comparison ({reason})")
        if mode == "online":
            return f"{self._session.url}/runs/{wandb_id}"
        for path in earlier:  # `wandb sync` would send both
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        return str(here)

    def _files_here(self) -> list[Path]:
        """What earlier comparisons have left: offline runs, and copies of their files for the artifact."""
        own = self._session.folder / "wandb"
        return [
            *own.glob("offline-run-*"),
            *own.glob("data/artifacts/staging/*"),
            *own.glob("cache/wandb/logs/*"),
        ]

    def _open(self, mode: str, wandb_id: str, comparison: Comparison) -> Any:
        tracking = self._tracking
        return open_run(
            self._session.folder,
            mode,
            run_id=wandb_id,
            name=f"compare {self.name}",
            config=description(comparison),
            axis=AXIS,
            goes_on=True,
            finish_timeout_s=TIMEOUT_S,
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group,
            job_type=tracking.job_type,
        )

    def _artifact(self, files: Sequence[Path]) -> Any:
        import wandb

        artifact = wandb.Artifact(re.sub(r"[^\w.-]", "-", f"compare-{self.name}")[:128], type="comparison")
        for path in files:
            artifact.add_file(
                str(path), name=f"{path.parent.name}/{path.name}" if is_picture(path) else path.name
            )
        return artifact


def identity(comparison: Comparison) -> str:
    """What makes the id of the W&B run: the studies, the source, y, and the folder where all its runs are compared."""
    attrs = comparison.frame.attrs
    studies, source = sorted(attrs.get("studies", [])), attrs.get("source")
    folder = None if studies or source else str(Path(attrs.get("outputs", "outputs")).resolve())
    return json.dumps([studies, source, folder, comparison.quantity.metric])


def _name(frame: pd.DataFrame) -> str:
    """What the W&B run and its group are called: the studies, or the source, or all runs of a folder."""
    studies = sorted(frame.attrs.get("studies", []))
    return " ".join([*filter(None, [frame.attrs.get("source")]), "+".join(studies)]).strip() or "all"


def _place_of(frame: pd.DataFrame) -> tuple[str | None, str]:
    """Entity and project of the runs: of their source, or as the first of them was trained."""
    if source := frame.attrs.get("source"):
        return parse_source(source)
    record = (
        RunFolder(Path(frame.attrs.get("outputs", "outputs")), frame["run_id"].iloc[0]).read_result() or {}
    )
    tracking = (record.get("config") or {}).get("tracking") or {}
    entity = tracking.get("entity") or os.environ.get("WANDB_ENTITY")
    return entity, tracking.get("project") or os.environ.get("WANDB_PROJECT") or "memcap"


def _warn(text: str) -> None:
    with suppress(OSError, ValueError):  # whoever read stderr is gone
        print(f"memcap: W&B: {text}", file=sys.stderr)
