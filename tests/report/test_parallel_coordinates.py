"""Settings against scores: every run is where its numbers are."""

import pytest
from matplotlib.container import ErrorbarContainer
from noise_images import evaluation, metrics, two_stores

from fido.report.files import write_evaluation
from fido.report.parallel_coordinates import (
    parallel_coordinates,
    score_axis,
    setting_axis,
    settings_of_name,
)


def test_names_of_runs_are_settings():
    assert settings_of_name("lime infiller=ca") == {"method": "lime", "infiller": "ca"}
    assert settings_of_name("mask.grid=7 seed=1") == {"mask.grid": "7", "seed": "1"}
    assert settings_of_name("Ours") == {"method": "Ours"}


def test_numbers_are_in_their_order_and_names_in_that_of_the_sweep():
    axis = setting_axis("objective.sparsity", {"a": "1e-3", "b": "2e-4", "c": "0.01"})
    assert axis.heights == {"a": 0.5, "b": 0.0, "c": 1.0}
    assert [text for _, text in axis.ticks] == ["2e-4", "1e-3", "0.01"]
    assert setting_axis("infiller", {"a": "vae", "b": "blur"}).heights == {"a": 0.0, "b": 1.0}


def test_better_is_up_and_means_are_beside_the_axis(tmp_path):
    stores = two_stores(tmp_path)
    good, bad = "infiller=ca objective.sparsity=1e-3", "infiller=blur objective.sparsity=1e-4"
    stores = {good: stores["good"], bad: stores["noise"]}
    which = {name: metrics()[name] for name in ("localization", "outside_box")}
    one = evaluation(stores, tmp_path / "out", which)
    summaries = write_evaluation(tmp_path / "out", one, one.run()).summaries
    heights, count = [], 0
    for summary in summaries:
        axis = score_axis(summary, list(stores))
        column = summary.columns[0]
        scale = 100 if column.percent else 1
        one, other = (summary.rows[run].estimates[column.name] for run in (good, bad))
        best, worst = one.low, other.high  # both metrics are better when lower
        assert best <= one.high < other.low <= worst
        expected = {
            run: (worst - e.mean) / (worst - best) for run, e in ((good, one), (bad, other))
        }
        assert axis.heights == pytest.approx(expected)
        intervals = {good: ((worst - one.high) / (worst - best), 1)} if one.high > best else {}
        if other.low < worst:
            intervals[bad] = (0, (worst - other.low) / (worst - best))
        assert axis.intervals == {run: pytest.approx(ends) for run, ends in intervals.items()}
        count += len(intervals)
        ends = [float(axis.ticks[place][1]) for place in (0, -1)]
        assert ends == pytest.approx([scale * worst, scale * best], abs=0.5 * 10**-column.digits)
        heights.append(axis.heights)
    settings = {name: settings_of_name(name) for name in stores}
    figure = parallel_coordinates(summaries, settings, 0.9)
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 4]
    drawn = sorted(tuple(line.get_ydata()) for line in lines)
    expected = [(0, 1, *(h[good] for h in heights)), (1, 0, *(h[bad] for h in heights))]
    assert [pytest.approx(line) for line in expected] == drawn
    bars = [bar for bar in figure.axes[0].containers if isinstance(bar, ErrorbarContainer)]
    assert len(bars) == count > 0
    assert "90% intervals" in figure.get_suptitle()
    assert parallel_coordinates(summaries, {good: settings[good]}) is None
    assert parallel_coordinates([], settings) is None
