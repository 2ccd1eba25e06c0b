"""Brings the W&B runs of a study to the server: which there are, which of them must be asked about, several at once.

One process does this for a study at a time, and a run that trains is left alone: locks see to both. Whatever ends this
process, the next one asks the server what it has, and goes on from there.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from memcap.errors import BadInput
from memcap.records import atomic, wandb_client, wandb_probe
from memcap.records.folder_lock import FolderLock
from memcap.records.owner import Owner
from memcap.records.run_folder import RunFolder
from memcap.records.study_folder import StudyFolder
from memcap.records.wandb_copy import WandbCopy, copy_of_run, copy_of_study_run
from memcap.records.wandb_ids import FILE, note_id, used_ids
from memcap.records.wandb_items import (
    Item,
    drop_files_without_a_run,
    offline_files,
    trained_as,
    wandb_folders,
)
from memcap.records.wandb_marks import Marks, mark_key, record_state
from memcap.records.wandb_upload import Brought, Place, bring

AT_ONCE: Final = 8  # more are not faster
_QUIET_S: Final = 10.0  # without the end of any run: then the server is asked whether it is there


@dataclasses.dataclass
class Synced:
    """What became of each W&B run, in the order in which they ended, and why it was stopped, if it was."""

    results: dict[Item, Brought] = dataclasses.field(default_factory=dict)
    num_dropped: int = 0
    num_marked: int = 0
    stopped: str = ""


class StudySync:
    """Brings W&B runs of one study to the places they belong to.

    ``entity`` and ``project``, where given, take the place of those of the training. Raises ``BadInput``, here or at
    the start of ``run``, where there are no credentials, the server cannot be used, or refuses the entity or project.
    """

    def __init__(
        self,
        study: StudyFolder,
        entity: str | None,
        project: str | None,
        *,
        unfinished: bool = False,
        verify: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.study, self.entity, self.project = study, entity, project
        self.unfinished, self.verify, self.dry_run = unfinished, verify, dry_run
        self.synced = Synced()
        self.marks = Marks(study.path)
        self.folder = study.path / "wandb" / "sync"  # of the client's files meanwhile
        self._credentials = _credentials()
        self._places: dict[tuple[str | None, str], Place] = {}
        self._names: dict[str, dict[str, str]] = {}  # of the cells of studies
        self._stopping = threading.Event()

    def run(self, items: list[Item], on_end: Callable[[Item, Brought], None]) -> Synced:
        """Bring these to the server, each told to ``on_end`` as it ends; may be interrupted at any point.

        Raises ``BadInput`` before anything is sent.
        """
        todo: list[tuple[Item, Place]] = []
        for item in items:
            place = self._place(item)
            known = None if self.verify else self.marks.num_rows(self._key(item, place))
            if known is None:
                todo.append((item, place))
                continue
            self.synced.num_marked += 1
            self._end(item, Brought("there", 0, known), on_end)
        if not self.dry_run:
            folders = {path for item, _ in todo for path in wandb_folders(self.study, item)}
            self.synced.num_dropped = sum(map(drop_files_without_a_run, folders))
        with self._locked() as owner:
            self._bring_all(todo, owner, on_end)
        return self.synced

    def _bring_all(
        self, todo: list[tuple[Item, Place]], owner: Owner, on_end: Callable[[Item, Brought], None]
    ) -> None:
        threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="memcap-wandb-sync")
        left, running = iter(todo), dict[Future[Brought], Item]()
        try:
            while not self._stopping.is_set():
                for item, place in itertools.islice(left, 2 * AT_ONCE - len(running)):
                    running[threads.submit(self._bring, item, place, owner)] = item
                if not running:
                    break
                done, _ = wait(running, timeout=_QUIET_S, return_when=FIRST_COMPLETED)
                if not done:
                    self._stop_without_server()
                for future in done:
                    self._take(running.pop(future), future, on_end)
        finally:
            self._stopping.set()
            threads.shutdown(wait=False, cancel_futures=True)
            wandb_client.end_service()  # also ends what hangs in the client
            threads.shutdown(wait=True)
            for future, item in running.items():
                if not future.cancelled():
                    self._take(item, future, on_end)

    def _take(self, item: Item, future: Future[Brought], on_end: Callable[[Item, Brought], None]) -> None:
        brought = future.result()
        if brought.state in ("failed", "unverified") and not self._stopping.is_set():
            self._stop_without_server()
        self._end(item, brought, on_end)

    def _end(self, item: Item, brought: Brought, on_end: Callable[[Item, Brought], None]) -> None:
        self.synced.results[item] = brought
        on_end(item, brought)

    def _stop_without_server(self) -> None:
        """Begin nothing more where the server is in trouble; it is asked once for each trouble of a run."""
        entity, project = next(iter(self._places))
        trouble = wandb_probe.ask(self._credentials, entity, project).trouble
        if trouble:
            self.synced.stopped = trouble
            self._stopping.set()

    def _bring(self, item: Item, place: Place, owner: Owner) -> Brought:
        """One run, under its lock; in a thread."""
        if self._stopping.is_set():
            return Brought("not tried")
        if item.file is not None:
            return self._bring_copy(item, place, lambda: copy_of_study_run(self.study, Path(str(item.file))))
        folder = RunFolder(self.study.outputs, item.run_id)
        lock = FolderLock(folder.path, owner)
        try:
            if not lock.acquire():
                return Brought("training", reason="it trains, or another process is sending it")
        except OSError as error:
            return Brought("failed", reason=f"its folder cannot be locked: {wandb_client.one_line(error)}")
        try:
            study, names = trained_as(self.study, item, self._names)
            return self._bring_copy(item, place, lambda: copy_of_run(folder, item.wandb_id, study, names))
        finally:
            lock.release()

    def _bring_copy(self, item: Item, place: Place, make: Callable[[], WandbCopy | None]) -> Brought:
        key = self._key(item, place)
        try:
            copy = make()
        except Exception as error:  # whatever stands there in place of a record
            return Brought("failed", reason=f"its record cannot be read: {wandb_client.one_line(error)}")
        if copy is None or (copy.status == "unfinished" and not self.unfinished):
            return Brought("not ended")
        brought = bring(copy, place, dry_run=self.dry_run, before=lambda: self._note(item, place))
        if not self.dry_run:
            self._mark(item, key, brought)
        return brought

    def _note(self, item: Item, place: Place) -> None:
        """From now on the server may have rows of this run: a training that continues must not send them by file."""
        folder = RunFolder(self.study.outputs, item.run_id).path
        note = None if item.file is not None else atomic.read_json(folder / FILE)
        if isinstance(note, dict) and note.get("id") == item.wandb_id:
            where = {"mode": "online", "project": place.project, "entity": place.entity}
            note_id(folder, {**note, **where}, used_ids(folder))

    def _mark(self, item: Item, key: str, brought: Brought) -> None:
        """Note whether it is there, also in the way in which `wandb sync` knows that it need not send the files."""
        is_there = brought.state in ("sent", "there")
        with suppress(OSError):  # a mark that is not written costs a question
            self.marks.set(key, item.run_id, brought.num_there if is_there else None)
        if not is_there:
            return
        for folder in wandb_folders(self.study, item):
            for path in offline_files(folder).get(item.wandb_id, ()):
                with suppress(OSError):
                    path.with_name(f"{path.name}.synced").touch()

    def _key(self, item: Item, place: Place) -> str:
        folder = RunFolder(self.study.outputs, item.run_id).path
        names = ("history.jsonl", "result.json", "failure.json")
        files = [item.file] if item.file is not None else [folder / name for name in names]
        server = place.credentials.base_url
        return mark_key(server, place.entity, place.project, item.wandb_id, record_state(*files))

    def _place(self, item: Item) -> Place:
        """Where a run belongs; each project is asked for once. Raises ``BadInput``."""
        entity, project = (
            self.entity or item.entity or os.environ.get("WANDB_ENTITY"),
            self.project or item.project or "memcap",
        )
        if (entity, project) not in self._places:
            answer = wandb_probe.ask(self._credentials, entity, project)
            if answer.refusal:
                refusal = answer.refusal.replace("tracking.", "")
                raise BadInput(f"sync: {refusal}; give another one by entity=NAME or project=NAME")
            if answer.trouble:
                raise BadInput(f"sync: {answer.trouble}; nothing was sent, try again when it answers")
            if answer.entity is None:
                raise BadInput("sync: the server names no default entity for this API key; give entity=NAME")
            self._places[entity, project] = Place(self._credentials, answer.entity, project, self.folder)
        return self._places[entity, project]

    @contextmanager
    def _locked(self) -> Iterator[Owner]:
        """As the only process that brings this study to a server; raises ``BadInput`` where there is another."""
        with Owner(self.study.outputs) as owner:
            lock = FolderLock(self.folder, owner)
            try:
                is_ours = lock.acquire()
            except OSError as error:
                raise BadInput(f"paths.outputs={self.study.outputs} cannot be written: {error}") from None
            if not is_ours:
                raise BadInput(
                    f"study={self.study.name} is being synced by another process; wait for its end"
                )
            try:
                shutil.rmtree(self.folder / "wandb", ignore_errors=True)  # of a process that was killed
                wandb_client.prepare(self.folder)
                yield owner
            finally:
                wandb_client.end_service()
                lock.release()
                shutil.rmtree(self.folder, ignore_errors=True)


def _credentials() -> wandb_probe.Credentials:
    found = wandb_probe.find_credentials()
    if found is None:
        raise BadInput("sync: no W&B credentials; run `wandb login` or set WANDB_API_KEY")
    if found.api_key is None:
        raise BadInput("sync: rows are asked for with an API key, got an identity token; set WANDB_API_KEY")
    return found
