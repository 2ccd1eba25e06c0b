"""Where the W&B runs of a study go: server or files, which project, under which common settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memcap.config.schema import TrackingConfig
from memcap.errors import BadInput
from memcap.records import wandb_client, wandb_probe

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

    @property
    def can_ask(self) -> bool:
        """Whether the server tells which rows it has; not where the client logs in by an identity token."""
        return self._credentials is not None and bool(self._credentials.api_key and self._entity)

    def last_row(self, wandb_id: str) -> dict[str, Any] | None:
        """The last row that the server has of a run; raises ``ConnectionError`` where it does not tell."""
        assert self._credentials is not None
        return wandb_probe.last_row(self._credentials, str(self._entity), self.project, wandb_id)

    def open_client(
        self, mode: str, run_id: str, name: str, config: Mapping[str, Any], goes_on: bool = False
    ) -> Any:
        """The client's object of a run, a new one unless it ``goes_on``; raises whatever the client raises."""
        return wandb_client.open_run(
            self.folder,
            mode,
            run_id=run_id,
            name=name,
            config=config,
            axis=self.axis,
            in_sweep=self.agent_run_id is not None,
            goes_on=goes_on,
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
