"""The W&B view that compares the runs of a sweep: what `explain.py` logs, on panels.

Importing this module needs wandb-workspaces (extra `dashboard`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb.sdk.lib.service.service_connection import WandbApiFailedError

AXES = ("infiller", "objective", "sparsity")
"""Settings that are set against every measure; `explain.py` logs them as `axis/<name>`."""
CURVES = ("loss", "score", "area")
"""Curves of an optimisation: `<curve>/<image id>` over `step`."""


def build_workspace(
    entity: str,
    project: str,
    name: str,
    measures: Mapping[str, str],
    figures: Sequence[str],
    group: str | None = None,
) -> ws.Workspace:
    """A leaderboard of methods, settings against measures, explanations, curves, scores.

    Args:
        entity: W&B user or team.
        project: W&B project.
        name: Of the view.
        measures: Summary key to what is better, "higher" or "lower".
        figures: Keys of the pictures that evaluations log.
        group: Only runs of this W&B group, which is a sweep of `explain.py`; None takes all.
    """
    titles = {key: f"{key} ({better} is better)" for key, better in measures.items()}
    columns = ["config:axis/method.value", *(f"summary:{key}" for key in measures)]
    sections = [
        ws.Section("Methods", [_leaderboard(*item) for item in titles.items()], is_open=True),
        ws.Section("Settings", [_parallel(*item) for item in titles.items()], is_open=True),
        ws.Section(
            "Explanations: images down, runs across",
            [wr.MediaBrowser(media_keys=["explanation"], grid_x_axis="run", grid_y_axis="step")],
            is_open=True,
            layout_settings=ws.SectionLayoutSettings(columns=1, rows=1),
        ),
        ws.Section(
            "Optimisation",
            [wr.LinePlot(title=name, x="step", metric_regex=f"^{name}/.*") for name in CURVES],
            is_open=True,
        ),
        ws.Section(
            "Scores",
            [wr.MediaBrowser(title=key, media_keys=[key], gallery_axis="run") for key in figures],
        ),
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=ws.WorkspaceSettings(max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == group] if group else "", pinned_columns=columns
        ),
    )


def specification(workspace: ws.Workspace) -> dict[str, Any]:
    """What saving the workspace sends to W&B, as plain values."""
    plain: dict[str, Any] = workspace._spec  # the library has no public name for it
    return plain


def save(workspace: ws.Workspace) -> str:
    """Save the workspace to W&B; returns its address.

    Raises:
        ConnectionError: If W&B does not take it.
    """
    try:
        return str(workspace.save().url)
    except (wandb.Error, WandbApiFailedError) as error:
        raise ConnectionError(f"W&B did not save the view: {error}") from error


def _leaderboard(key: str, title: str) -> wr.BarPlot:
    """A bar a method: the mean over its runs, with their range."""
    return wr.BarPlot(
        title=title,
        metrics=[key],
        groupby=wr.Config("axis/method"),
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _parallel(key: str, title: str) -> wr.ParallelCoordinatesPlot:
    """One measure: W&B leaves out the runs that lack any column of a plot."""
    axes = [
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.Config(f"axis/{name}"), display_name=name, log=name == "sparsity"
        )
        for name in AXES
    ]
    measure = wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(key))
    return wr.ParallelCoordinatesPlot(title=title, columns=[*axes, measure])
