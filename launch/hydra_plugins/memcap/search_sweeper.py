"""The sweepers that search: each cell of the swept axes is a configuration, and all of them advance together."""

# No "from __future__ import annotations" here: see launcher.py.

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra_plugins.memcap.sweeper import MemcapSweeper
from omegaconf import OmegaConf

if TYPE_CHECKING:
    from hydra_plugins.memcap.search_space import SearchSpace

    from memcap.config.cell import Cell

MOST_FAILURES = 5


def store_config() -> None:
    """Nothing: ``hydra/sweeper=capacity`` and ``search`` are files of conf/hydra/sweeper, since they bring keys too."""


class SearchSweeper(MemcapSweeper):
    """``hydra/sweeper=capacity`` and ``hydra/sweeper=search``: looks for the best N, or for the smallest size.

    Axes are read as ``MemcapSweeper`` reads them. A round is one batch for the launcher: the next candidates of all
    configurations. What they gave is read from their records, so any launcher will do that comes back when runs have
    ended. The search is a function of these records: the same command finds finished runs and goes on.
    """

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Searches, writes ``search.json`` into the study's folder, prints the table; all jobs, as one batch.

        Raises BadInput before anything starts.
        """
        from hydra_plugins.memcap.composition import CellComposer
        from hydra_plugins.memcap.search_space import SearchSpace
        from hydra_plugins.memcap.submitters import SubmittingLauncher

        from memcap.errors import BadInput, Interrupted
        from memcap.search.options import SearchOptions
        from memcap.search.report import claimed
        from memcap.submission.options import LauncherOptions

        assert self.hydra_context is not None
        assert self.config is not None
        if not hasattr(self.task_function, "train_cells"):
            raise BadInput("hydra/sweeper: a search reads the records of memcap.train; other tasks have none")
        values: Any = OmegaConf.to_container(self.config.search, resolve=True)
        composer = CellComposer(self.hydra_context.config_loader, self.config)
        axes = self._axes(arguments)
        space = SearchSpace(composer, axes, SearchOptions.from_dict(values))
        self._check_choices(composer, axes)
        if isinstance(self.launcher, SubmittingLauncher):
            self.launcher.check_sweeper(LauncherOptions.from_dict(self.launcher.values))
        claim = (
            contextlib.nullcontext()
            if self._is_dry()
            else claimed(space.folder.path, space.options, space.seeds)
        )
        returns: list[JobReturn] = []
        try:
            with claim:
                is_over = self._search(space, returns)
        except (KeyboardInterrupt, Interrupted):
            print("memcap: the search was stopped; the same command goes on from there", file=sys.stderr)
            raise
        if is_over:
            self._report(space)
        return [returns]

    def _search(self, space: "SearchSpace", returns: list[JobReturn]) -> bool:
        """Round after round; False where it was not brought to its end (``fail_fast``, a plan only)."""
        from memcap.search.configuration import advance_together
        from memcap.search.told import told_of

        searches = [configuration.search for configuration in space.configurations]
        for number, batch in enumerate(advance_together(searches), start=1):
            asked = [(space.configurations[place], trial) for place, trial in batch]
            cells = [space.cell(*one) for one in asked]
            running = len({place for place, _ in batch})
            print(
                f"memcap: round {number}: {len(cells)} runs; {running} of {len(searches)} configurations are searched",
                file=sys.stderr,
            )
            jobs = self._launch(cells, space.keys)
            returns += jobs
            if self._is_dry():
                print("what later rounds need depends on what this one gives")
                return False
            for (configuration, trial), (cell, _) in zip(asked, cells, strict=True):
                configuration.search.tell({trial: told_of(cell, space.options)})
            if cells[0][0].config.fail_fast and any(job.status is JobStatus.FAILED for job in jobs):
                return False
        return True

    def _launch(self, cells: "Sequence[tuple[Cell, list[str]]]", keys: list[str]) -> list[JobReturn]:
        """One round. Its closing table is no result of the search and is not shown; failures are."""
        from hydra_plugins.memcap.launcher import MemcapLauncher

        assert self.launcher is not None
        if isinstance(self.launcher, MemcapLauncher):
            self.launcher.prepare([cell for cell, _ in cells], keys)
        batch, printed = [overrides for _, overrides in cells], io.StringIO()
        if self._is_dry():
            jobs = self.launcher.launch(batch, initial_job_idx=0)
        else:
            try:
                with contextlib.redirect_stdout(printed):
                    jobs = self.launcher.launch(batch, initial_job_idx=0)
            except BaseException:
                print(printed.getvalue(), end="")
                raise
        failed = [pair for pair in zip(cells, jobs, strict=True) if pair[1].status is JobStatus.FAILED]
        for (cell, _), job in failed[:MOST_FAILURES]:
            print(f"memcap: failed: {' '.join(cell.overrides)}: {job._return_value}", file=sys.stderr)
        if len(failed) > MOST_FAILURES:
            print(f"memcap: ... and {len(failed) - MOST_FAILURES} more failures", file=sys.stderr)
        return list(jobs)

    def _is_dry(self) -> bool:
        """Whether a launcher that submits was asked for its plan only."""
        from hydra_plugins.memcap.submitters import SubmittingLauncher

        assert self.config is not None
        dry = OmegaConf.select(self.config, "launcher.dry_run")
        return isinstance(self.launcher, SubmittingLauncher) and bool(dry)

    def _report(self, space: "SearchSpace") -> None:
        from shlex import quote

        from memcap.search.options import CAPACITY
        from memcap.search.report import FILE, print_report, result_row, write_report

        options, rows = space.options, []
        for configuration in space.configurations:
            steps = configuration.cell.config.budget.steps
            parameters = space.num_parameters(configuration)
            row = result_row(configuration.search, configuration.rate, steps, parameters, options)
            name = space.name(configuration)
            rows.append({"overrides": list(configuration.own), "name": name, **row})
        folder, outputs = space.folder, space.configurations[0].cell.config.paths.outputs
        write_report(folder.path, rows, options, space.seeds)
        print_report(rows, options)
        print(f"study:  {quote(str(folder.path))}  ({FILE})")
        if options.goal == CAPACITY:
            where = "" if outputs == "outputs" else f" paths.outputs={quote(outputs)}"
            print(f"next:   python -m memcap.compare study={quote(folder.name)}{where}")
