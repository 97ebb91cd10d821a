"""What one setting changes, and which runs no other beats, against ten lines of pandas."""

import csv

import numpy as np
import pandas as pd
import pytest
import torch
from noise_images import evaluation, sample
from omegaconf import OmegaConf

from fido.app.sweep_comparisons import chosen_stores, write_comparisons
from fido.evaluation.bootstrap import Bootstrap, Estimate
from fido.evaluation.contrasts import contrasts
from fido.evaluation.frame import FRAME, score_frame
from fido.evaluation.summary import summarise
from fido.metrics.cost import Cost
from fido.records import Explanation
from fido.report.files import write_evaluation
from fido.report.parallel_coordinates import settings_of_name
from fido.report.pareto_figure import pareto_points
from fido.runs.store import ResultsStore

GRID = [(net, cone, kind) for net in "ab" for cone in ("30", "0") for kind in ("near", "far")]


def cost_of(net, cone, kind, i):
    base = {"a": 10, "b": 50}[net] + {"30": 5, "0": 0}[cone] * (i + 1)
    return base + {"near": 0, "far": 3 * i}[kind]


def toy_sweep(folder):
    """2 x 2 x 2 jobs of four images with known costs, as Hydra leaves them."""
    for net, cone, kind in GRID:
        job = folder / f"{net}{cone}{kind}"
        overrides = [f"classifier={net}", f"explainer.guide.degrees={cone}", f"target_kind={kind}"]
        store = ResultsStore(job, {"net": net}, {"overrides": overrides})
        for i in range(4):
            if (net, kind, i) == ("b", "far", 3):
                continue  # not in all runs
            one = sample(i)
            cost = {"forward": cost_of(net, cone, kind, i)}
            row = {"id": one.id, "status": "explained", "label": 0, "target": 0}
            store.save(one, Explanation(one.id, 0, torch.zeros(1, 48, 64), cost=cost), row)


def options(**more):
    plain = {"where": {}, "contrasts": [], "pareto": [], "level": 0.95}
    return OmegaConf.create({"evaluation": {**plain, **more}})


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [("explainer.guide.degrees", "0", "30"), ("target_kind", "far", "near")],
)
def test_contrasts_of_a_toy_suite_are_those_of_pandas(tmp_path, key, before, after):
    toy_sweep(tmp_path / "sweep")
    stores, _ = chosen_stores(options(), [str(tmp_path / "sweep")])
    assert len(stores) == 8
    one = evaluation(stores, tmp_path / "out", {"cost": Cost()})
    results = one.run()
    frame = score_frame(results)
    settings = {name: settings_of_name(name) for name in stores}
    found = contrasts(summarise(results, frame), frame, settings, key, Bootstrap())
    forward = {one.rest: one for one in found if one.column.name == "forward"}
    assert len(forward) == 4

    long = frame[frame["column"] == "forward"].astype({"row": str, "id": str})
    for name in settings["classifier=a explainer.guide.degrees=0 target_kind=far"]:
        long[name] = [settings[row][name] for row in long["row"]]
    others = [k for k in ("classifier", "explainer.guide.degrees", "target_kind") if k != key]
    wide = long.pivot_table(index=[*others, "id"], columns=key, values="value")
    difference = (wide[after] - wide[before]).dropna().groupby(others).agg(["mean", "count"])
    for values, (mean, n) in zip(difference.index, difference.to_numpy(), strict=True):
        rest = " ".join(f"{k}={v}" for k, v in zip(others, values, strict=True))
        contrast = forward[rest]
        assert (contrast.before, contrast.after) == (before, after)
        assert contrast.difference.mean == pytest.approx(mean)
        assert contrast.difference.n == n
    assert list(frame.columns) == list(FRAME)


def test_tables_of_contrasts_and_the_front_are_written(tmp_path, capsys):
    toy_sweep(tmp_path / "sweep")
    cfg = options(
        contrasts=["explainer.guide.degrees", "typo"],
        where={"target_kind": "near"},
        pareto=["cost.forward", "cost.backward"],
    )
    stores, sweeps = chosen_stores(cfg, [str(tmp_path / "sweep")])
    assert len(stores) == 4
    assert sweeps["sweep"] == list(stores)
    one = evaluation(stores, tmp_path / "out", {"cost": Cost()})
    evaluated = write_evaluation(tmp_path / "out", one, one.run())
    write_comparisons(cfg, evaluated, list(stores), Bootstrap())
    said = capsys.readouterr().out
    assert "no two runs differ in typo alone" in said
    table = (tmp_path / "out" / "contrasts" / "explainer.guide.degrees.md").read_text()
    # 5 (i + 1) over four images.
    assert "| classifier=a target_kind=near | 0 | 30 | 4 | +12 [" in table
    with (tmp_path / "out" / "contrasts" / "explainer.guide.degrees.csv").open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["column"] == "forward"]
    assert [float(row["difference"]) for row in rows] == [12.5, 12.5]
    assert not (tmp_path / "out" / "pareto.csv").exists()  # nothing has a backward pass


def test_settings_that_no_run_has_are_refused(tmp_path):
    toy_sweep(tmp_path / "sweep")
    with pytest.raises(ValueError, match="no run was started with target_kind=nera"):
        chosen_stores(options(where={"target_kind": "nera"}), [str(tmp_path / "sweep")])
    stores, _ = chosen_stores(
        options(where={"explainer.guide.degrees": 30}), [str(tmp_path / "sweep")]
    )
    assert len(stores) == 4


def estimates(values):
    return {name: Estimate(4, value, value, value) for name, value in values.items()}


def test_the_front_is_what_the_slow_loop_finds():
    random = np.random.default_rng(0)
    xs = {str(i): float(v) for i, v in enumerate(random.integers(0, 8, 40))}
    ys = {str(i): float(v) for i, v in enumerate(random.integers(0, 8, 40))}
    points = pareto_points(estimates(xs), estimates(ys), (-1, 1))  # small x, large y
    for point in points:
        beaten = any(
            xs[o] <= xs[point.row]
            and ys[o] >= ys[point.row]
            and (xs[o], ys[o]) != (xs[point.row], ys[point.row])
            for o in xs
        )
        assert point.front == (not beaten)
    assert 1 <= sum(point.front for point in points) < 40
    nan = pareto_points(
        estimates({"a": 1.0, "b": float("nan")}), estimates({"a": 1, "b": 1}), (1, 1)
    )
    assert [point.row for point in nan] == ["a"]


def test_pareto_scores_that_do_not_exist_are_named(tmp_path):
    toy_sweep(tmp_path / "sweep")
    stores, _ = chosen_stores(options(), [str(tmp_path / "sweep")])
    one = evaluation(stores, tmp_path / "out", {"cost": Cost()})
    evaluated = write_evaluation(tmp_path / "out", one, one.run())
    for scores, words in ((["cost.forward"], "two scores"), (["cost.x", "cost.forward"], "cost.x")):
        with pytest.raises(ValueError, match=words):
            write_comparisons(options(pareto=scores), evaluated, list(stores), Bootstrap())
    write_comparisons(
        options(pareto=["cost.forward", "cost.forward"]), evaluated, list(stores), Bootstrap()
    )
    table = pd.read_csv(tmp_path / "out" / "pareto.csv")
    assert len(table) == 8
    assert (tmp_path / "out" / "figures" / "pareto.png").stat().st_size > 5000
