"""The workspace of a W&B project as memcap's users read it: capacity, training, sharpness, gradients, studies.

It is one saved view of the project, found again by its name, which is the same for all: a second call updates it.
Sections that somebody has added stay, those of memcap are made anew. ``wandb_workspaces`` (the extra ``wandb``) makes
the layout. Its traps: ``x="step"`` would be a metric of that name, a key of the configuration needs ``Config``, and
saving a workspace that was not read from the server before makes another view.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

from memcap.errors import BadInput
from memcap.records.wandb_probe import app_url

NAME: Final = "memcap"
VIEW: Final = "memcapdashboard"  # in the address of the page: ?nw=memcapdashboard
_STEP: Final = "train/step"
_LINES: Final[dict[str, tuple[tuple[str, tuple[str, ...], bool], ...]]] = {
    # title, metrics, logarithmic ordinate
    "Training": (
        ("loss [nats]", ("train/loss_nats",), True),
        ("loss [mean squared error]", ("train/loss_mse",), True),
        ("memorized bits", ("memory/bits", "memory/bits_clamped"), False),
        ("memorized samples", ("memory/memorized_samples",), False),
        ("learning rate", ("train/learning_rate",), False),
    ),
    "Sharpness": (
        ("largest Hessian eigenvalue", ("sharpness/top_eigenvalue",), True),
        ("as the optimizer sees it, and its threshold", ("sharpness/preconditioned", "sharpness/threshold"), True),
        ("trace of the Hessian", ("sharpness/trace",), True),
    ),
    "Gradients": (
        ("gradient norm", ("gradients/norm",), True),
        ("coherence of the samples' gradients", ("gradients/coherence",), True),
        ("cancellation", ("gradients/cancellation",), False),
        ("gradient noise scale", ("gradients/noise_scale",), True),
        ("update over weight", ("updates/weight_ratio",), True),
    ),
}  # fmt: skip


def dashboard(entity: str, project: str, url: str | None = None) -> Any:
    """The workspace, whose ``save()`` makes or updates the view; as it is on the server where that has one.

    ``url``: of the server's pages, asked for the view; None makes a new one without asking. Raises ``BadInput`` where
    the extra is not installed, and what ``wandb_workspaces`` raises.
    """
    workspaces, _ = library()
    found = _existing(workspaces, f"{url}/{entity}/{project}?nw={VIEW}") if url else None
    ours = sections()
    if found is not None:
        names = {section.name for section in ours}
        found.sections = [*ours, *(section for section in found.sections if section.name not in names)]
        return found
    made = workspaces.Workspace(entity=entity, project=project, name=NAME, sections=ours)
    made._internal_name = f"nw-{VIEW}-v"  # given by us, so that whoever comes next finds it
    return made


def save_dashboard(entity: str, project: str) -> dict[str, Any]:
    """Make the view on the server, or update it: its ``url``, and whether it was ``updated``. Takes two requests."""
    import wandb

    wandb.setup(wandb.Settings(silent=True))  # what it does is said by the caller
    workspace = dashboard(entity, project, app_url())
    updated = bool(workspace._internal_id)
    workspace.save()
    return {"url": workspace.url, "updated": updated}


def sections() -> list[Any]:
    """Capacity, Training, Sharpness, Gradients, Studies."""
    workspaces, panels = library()
    lines = [
        workspaces.Section(
            name=title,
            is_open=title == "Training",
            panels=[
                panels.LinePlot(title=name, x=_STEP, y=list(metrics), log_y=log, title_x="step")
                for name, metrics, log in plots
            ],
        )
        for title, plots in _LINES.items()
    ]
    capacity = workspaces.Section(
        name="Capacity", is_open=True, panels=[*capacity_panels(panels), *comparison_panels(panels)]
    )
    studies = workspaces.Section(name="Studies", is_open=False, panels=_studies(panels))
    return [capacity, *lines, studies]


def as_json(workspace: Any) -> str:
    """The workspace as it is sent, for review."""
    return str(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=1))


def capacity_panels(panels: Any) -> list[Any]:
    """A point per run: bits against N, parameters and width; which of them is a capacity, `memcap.compare` says."""
    bits, samples = panels.SummaryMetric("memory/bits"), panels.Config("data.num_samples")
    size, width = panels.SummaryMetric("num_parameters"), panels.Config("model.width")
    return [
        panels.ScatterPlot(title="bits against N", x=samples, y=bits, z=size, log_x=True),
        panels.ScatterPlot(
            title="bits against parameters", x=size, y=bits, log_x=True, log_y=True, regression=True
        ),
        panels.ScatterPlot(title="bits against width", x=width, y=bits, log_x=True),
        panels.ScatterPlot(
            title="bits per parameter against N",
            x=samples,
            y=panels.SummaryMetric("memory/bits_per_parameter"),
        ),
        panels.ScatterPlot(
            title="sharpness against N",
            x=samples,
            y=panels.SummaryMetric("sharpness/top_eigenvalue"),
            log_y=True,
        ),
        panels.ParallelCoordinatesPlot(
            columns=[panels.ParallelCoordinatesPlotColumn(metric=metric) for metric in (width, samples, bits)]
        ),
    ]


def comparison_panels(panels: Any) -> list[Any]:
    """What ``memcap.compare tracking.mode=online`` logs: capacities with intervals, and slopes of the fits."""
    return [
        panels.WeavePanelSummaryTable(table_name="compare/capacity"),
        panels.BarPlot(title="slope of the chosen law over parameters, by comparison", metrics=["fit/slope"]),
    ]


def _studies(panels: Any) -> list[Any]:
    """What ``tracking.per=study`` logs, and the runs of each study (W&B's group) in one bar."""
    progress = ["study/finished", "study/diverged", "study/failed", "study/skipped"]
    return [
        panels.LinePlot(title="runs that have ended", x="study/ended", y=progress),
        panels.LinePlot(title="most bits so far", x="study/ended", y=["study/bits_best"]),
        panels.WeavePanelSummaryTable(table_name="study/cells"),
        panels.BarPlot(
            title="mean bits by study", metrics=["memory/bits"], groupby="Group", groupby_aggfunc="mean"
        ),
    ]


def _existing(workspaces: Any, url: str) -> Any:
    try:
        return workspaces.Workspace.from_url(url)
    except ValueError as error:  # so it says that there is no such view, or no such project yet
        if "not found" in str(error):
            return None
        raise


def library() -> tuple[Any, Any]:
    """``wandb_workspaces``: its workspaces, and its reports with the panels of both. Raises ``BadInput``."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of how the library itself is written
            import wandb_workspaces.reports.v2 as panels
            import wandb_workspaces.workspaces as workspaces
    except ImportError:
        raise BadInput("dashboard: wandb-workspaces is not installed; pip install 'memcap[wandb]'") from None
    return workspaces, panels
