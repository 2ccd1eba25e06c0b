"""Where the W&B runs of a study go: server or files, which project, under which common settings."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memcap.config.schema import TrackingConfig
from memcap.errors import BadInput
from memcap.records import wandb_client, wandb_probe
from memcap.records.wandb_earlier import EarlierRun
from memcap.records.wandb_ids import shown_name
from memcap.records.wandb_run import WandbRun

# How the client's settings name what wandb.init takes.
_SETTINGS = {"group": "run_group", "job_type": "run_job_type", "tags": "run_tags", "notes": "run_notes"}


class WandbSession:
    """What all W&B runs of a study share; ``mode`` becomes online, offline or disabled, as ``prepare`` finds it.

    ``trouble`` says why ``auto`` became offline although there are credentials.
    """

    def __init__(
        self, tracking: TrackingConfig, study: str, folder: Path, agent_run_id: str | None, axis: str
    ) -> None:
        self.mode, self.demanded = tracking.mode, tracking.mode == "online"
        self.folder, self.agent_run_id, self.axis = Path(folder).resolve(), agent_run_id, axis
        self.trouble: str | None = None
        self._shared: dict[str, Any] = {
            "project": tracking.project, "entity": tracking.entity, "group": tracking.group or study,
            "job_type": tracking.job_type, "tags": tuple(tracking.tags) or None, "notes": tracking.notes,
        }  # fmt: skip
        if agent_run_id is not None:  # an agent's project and entity are those of its sweep
            for name in ("project", "entity"):
                self._shared[name] = os.environ.get(f"WANDB_{name.upper()}") or self._shared[name]
        self._credentials: wandb_probe.Credentials | None = None
        self._entity, self._app_url = self._shared["entity"], ""
        self._new: Path | None = None
        self._opened: set[str] = set()  # ids in W&B

    def prepare(self) -> None:
        """Settle on a mode; raises BadInput with nothing left behind."""
        try:
            self._new = wandb_client.prepare(self.folder, self.agent_run_id is not None)
            wandb_client.check_settings(
                **{_SETTINGS.get(key, key): v for key, v in self._shared.items() if v is not None}
            )
            if self.mode != "offline":
                self._ask_server()
        except BadInput:
            self.leave_nothing()
            raise

    def trouble_now(self, timeout_s: float) -> str | None:
        """Why the server cannot be used at this moment; None where it answers, or there is none."""
        if self.mode != "online" or self._credentials is None:
            return None
        return wandb_probe.ask(self._credentials, self._entity, self.project, timeout_s).trouble

    def can_go_on(self, earlier: EarlierRun) -> bool:
        """Whether an earlier W&B run may go on; the server must be able to tell which rows it has.

        Not under an agent, which has an id of its own, and not under an id that this process has had: the client may
        still be sending its rows.
        """
        if self.agent_run_id is not None or earlier.wandb_id in self._opened:
            return False
        asked = self._credentials is not None and self._credentials.api_key and self._entity
        return earlier.can_go_on(self.mode) and (self.mode != "online" or bool(asked))

    def open_client(self, run: WandbRun, mode: str) -> Any:
        """The client's object of a run; raises whatever the client raises.

        An earlier run that cannot go on after all is left as it is: the server went away or does not tell its rows,
        or somebody has deleted it there.
        """
        if run.earlier is not None and not self._knows_rows(run, run.earlier, mode):
            run.leave_earlier(self.record(run.own_id))
        try:
            return self._open(run, mode)
        except Exception as error:
            if run.earlier is None or "deleted" not in str(error):
                raise
        wandb_client.remove_fragment(self.folder, run.run_id, run.started)
        run.leave_earlier(self.record(run.own_id))
        return self._open(run, mode)

    def _knows_rows(self, run: WandbRun, earlier: EarlierRun, mode: str) -> bool:
        """Whether it is known which rows of the earlier W&B run are there, now that it is to be opened."""
        if mode == "online" and self._credentials is not None:
            try:
                row = wandb_probe.last_row(self._credentials, str(self._entity), self.project, run.run_id)
            except ConnectionError:
                return False
            run.step_there = (row or {}).get("train/step", -math.inf)
        return earlier.can_go_on(mode)

    def _open(self, run: WandbRun, mode: str) -> Any:
        self._opened.add(run.run_id)
        return wandb_client.open_run(
            self.folder,
            mode,
            run_id=run.run_id,
            name=shown_name(run.name, run.key, run.run_id),
            config=run.config,
            axis=self.axis,
            in_sweep=self.agent_run_id is not None,
            goes_on=run.earlier is not None,
            **self._shared,
        )

    def record(self, wandb_id: str) -> dict[str, Any]:
        """Where the run of this id is: id, mode, project, entity, and its url or the folder of its files."""
        record = {"id": wandb_id, "mode": self.mode, "project": self.project, "entity": self._entity}
        if self.mode == "online" and self.url:
            return {**record, "url": f"{self.url}/runs/{quote(wandb_id)}"}
        return {**record, "folder": str(self.folder / "wandb")}

    @property
    def project(self) -> str:
        """The W&B project."""
        return str(self._shared["project"])

    @property
    def url(self) -> str | None:
        """The project's page; None where no server has answered."""
        if not (self._app_url and self._entity):
            return None
        return f"{self._app_url}/{quote(self._entity)}/{quote(self.project)}"

    @property
    def place(self) -> str:
        """The project for messages."""
        return f"project {self.project} of {self._entity or 'the default entity'}"

    def leave_nothing(self) -> None:
        """End the client's service and remove the folder, where it is new."""
        wandb_client.end_service()
        if self._new is not None:
            shutil.rmtree(self._new, ignore_errors=True)

    def _ask_server(self) -> None:
        self._credentials = wandb_probe.find_credentials()
        if self._credentials is None:
            if self.demanded:
                raise BadInput(
                    "tracking.mode=online needs W&B credentials, got none; run `wandb login`, set WANDB_API_KEY, or"
                    " use tracking.mode=offline"
                )
            self.mode = "offline"
            return
        answer = wandb_probe.ask(self._credentials, self._entity, self.project)
        if answer.refusal:
            raise BadInput(f"{answer.refusal}; set another one, or use tracking.mode=offline")
        if answer.trouble and self.demanded:
            raise BadInput(
                f"tracking.mode=online: {answer.trouble}; check the network and the credentials, or use"
                " tracking.mode=offline"
            )
        self.mode, self.trouble = ("offline" if answer.trouble else "online"), answer.trouble
        self._entity = answer.entity or self._entity
        self._app_url = "" if answer.trouble else wandb_probe.app_url()
