"""Scores as a run goes on: in rows, on disk, and made up for after an interruption."""

import json
from functools import partial

import pytest
from planted import planted_classifier
from planted_run import Notes, Planted

from fido.evaluation.evaluation import Evaluation
from fido.evaluation.parts import Part
from fido.evaluation.samples import StoredSamples
from fido.evaluation.scoring_observer import ScoringObserver, rows_with_stored_scores
from fido.evaluation.stored_explanations import StoredExplanations
from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR
from fido.metrics.region import RegionProbability
from fido.metrics.subjects import ComparedRows
from fido.runs.runner import Runner
from fido.runs.store import ResultsStore


class Rows(Notes):
    """Notes whole rows."""

    def result(self, result):
        self.results.append(result.row)


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    return Planted(tmp_path / "photos", ["a", "b"])


def scoring(folder, rows, colour=(0.2, 0.2, 0.2)):
    stored = StoredExplanations({"fido": ResultsStore(folder)})
    metric = RegionProbability(planted_classifier(), MeanInfiller(colour))
    part = Part(
        "",
        {"region": metric},
        {"region": {"colour": list(colour)}},
        StoredSamples(stored, ["fido"]),
        ComparedRows(["fido"]),
    )
    evaluation = Evaluation([part], stored, folder / "evaluation")
    return ScoringObserver(evaluation, "region", observers=[rows])


def run(folder, photos, observer, **options):
    classifier, infiller = planted_classifier(), MeanInfiller((0.2, 0.2, 0.2))
    mask = partial(ConcreteMask, grid=10)
    explainer = Fido(classifier, infiller, SSR(0.02), mask, steps=40, samples=2)
    store = ResultsStore(folder)
    return Runner(
        classifier,
        infiller,
        explainer,
        store,
        observers=[observer],
        with_scores=observer.with_scores,
        **options,
    ).run(photos)


def test_rows_tables_and_summary_hold_the_scores_behind_the_photos_probability(tmp_path, photos):
    rows = Rows()
    summary = run(tmp_path / "run", photos, scoring(tmp_path / "run", rows))
    assert rows.begun == [(0, 2)]
    for row in rows.results:
        names = list(row)
        place = names.index("p_original")
        assert names[place : place + 4] == ["p_original", "p_kept", "p_removed", "area"]
        assert row["p_kept"] > 0.9
        assert row["p_removed"] < 0.1
        assert 0 < row["area"] < 0.5
    assert summary["mean"]["p_kept"] > 0.9
    (first, *_) = (tmp_path / "run" / "scores.csv").read_text().splitlines()
    assert "p_original,p_kept,p_removed,area," in first
    # The method's own infill is stored with the result, whatever the metric's infiller is.
    assert ResultsStore(tmp_path / "run").edit("a") is not None


def test_what_an_interrupted_run_did_not_score_is_scored_when_it_goes_on(tmp_path, photos):
    folder, rows = tmp_path / "run", Rows()
    run(folder, photos, scoring(folder, rows))
    whole = (folder / "scores.csv").read_bytes()
    (folder / "scored" / "a.class1.seed0.json").unlink()
    again = scoring(folder, Rows())
    summary = run(folder, photos, again)
    assert summary["this_run"]["images"] == 0
    assert (folder / "scores.csv").read_bytes() == whole


def test_other_settings_of_the_metric_score_all_results_anew(tmp_path, photos):
    folder = tmp_path / "run"
    run(folder, photos, scoring(folder, Rows()))
    page = folder / "scored" / "a.class1.seed0.json"
    before = json.loads(page.read_text())["region"]["explanation"]["values"]
    bright = scoring(folder, Rows(), colour=(0.9, 0.9, 0.9))
    run(folder, photos, bright)
    after = json.loads(page.read_text())["region"]["explanation"]["values"]
    # Filled with what the box looks like, the region removed keeps the class.
    assert before["p_removed"] < 0.1 < 0.9 < after["p_removed"]
    (row,) = bright.with_scores([ResultsStore(folder).row("a")])
    assert row["p_removed"] == after["p_removed"]


def test_seeds_of_one_photo_have_scores_of_their_own(tmp_path, photos):
    folder = tmp_path / "run"
    for seed in (0, 7):
        run(folder, photos, scoring(folder, Rows()), seed=seed)
    store = ResultsStore(folder)
    observer = scoring(folder, Rows())
    rows = observer.with_scores(store.rows())
    assert [row["seed"] for row in rows] == [0, 7, 0, 7]
    assert all("p_kept" in row for row in rows)
    # Whoever has no metric at hand reads the same.
    columns = ("p_kept", "p_removed", "area")
    assert rows_with_stored_scores(store, "region", columns) == rows
    failed = {"id": "x", "status": "failed"}
    assert observer.with_scores([failed]) == [failed]
