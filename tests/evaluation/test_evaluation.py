"""From stores to tables: what is scored, what is kept, what is counted."""

import csv
import io
import json
import math
import shutil

import pytest
import torch
from analytic import box_map, explanation, share_classifier
from noise_images import (
    BLACK,
    BOX,
    SIZE,
    by_image,
    counted,
    evaluation,
    metrics,
    noise,
    sample,
    save,
    two_stores,
)
from omegaconf import OmegaConf

from fido.app.evaluate import finish
from fido.evaluation.bootstrap import Bootstrap, Estimate
from fido.evaluation.frame import ScoreCollector, score_frame
from fido.evaluation.scoring_observer import ScoringObserver
from fido.evaluation.summary import summarise
from fido.infillers.mean import MeanInfiller
from fido.masks.baseline_maps import REFERENCE_ROWS
from fido.masks.distributions.bernoulli import BernoulliPixels
from fido.metrics.infill_probability import InfillProbability
from fido.metrics.model_randomization import ModelRandomization
from fido.metrics.outside_box import OutsideBox
from fido.metrics.sensitivity import Sensitivity
from fido.records import Key
from fido.report.files import write_evaluation
from fido.report.tables import interval, latex_table, markdown_table
from fido.runs.result_file import file_stem
from fido.runs.store import ResultsStore


@pytest.fixture
def stores(tmp_path):
    return two_stores(tmp_path)


def csv_rows(text):
    return {(row["row"], row["id"]): row for row in csv.DictReader(io.StringIO(text))}


def test_every_file_is_written_and_adds_up(stores, tmp_path):
    folder = tmp_path / "out"
    one = evaluation(stores, folder)
    evaluated = write_evaluation(folder, one, one.run(), compare_to="good")
    rows = csv_rows((folder / "scores.csv").read_text())
    assert len([key for key in rows if key[0] == "good"]) == 10
    assert len([key for key in rows if key[0] == "noise"]) == 8
    assert rows["good", "img00"]["localization.wsl_error"] == ""  # no boxes: undefined, not gone
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["images"] == {
        "good": {"explained": 10},
        "noise": {"explained": 8, "failed": 2},
    }
    table = summary["metrics"]["localization"]["rows"]
    assert list(table) == [*REFERENCE_ROWS, "good", "noise"]
    assert table["good"]["images"] == 10
    assert table["good"]["mean"]["wsl_error"] == {"n": 7, "mean": 0.0, "low": 0.0, "high": 0.0}
    assert table["Ground-truth box"]["mean"]["wsl_error"]["mean"] == 0
    outside = summary["metrics"]["outside_box"]["rows"]
    both = ("img01", "img02", "img03", "img05", "img06", "img07")
    by_hand = [
        float(rows["noise", i]["outside_box.outside"])
        - float(rows["good", i]["outside_box.outside"])
        for i in both
    ]
    difference = outside["noise"]["minus_baseline"]["outside"]
    assert difference["n"] == 6
    assert difference["mean"] == pytest.approx(sum(by_hand) / 6)
    assert outside["good"]["minus_baseline"] == {}
    deletion = summary["metrics"]["deletion"]["rows"]
    assert list(deletion) == ["Random map", "good", "noise"]
    for file in ("tables.md", "tables/localization.tex", "curves/deletion.csv"):
        assert (folder / file).stat().st_size > 100, file
    for name in one.tables:
        assert evaluated.figures[name].read_bytes().startswith(b"\x89PNG"), name


def test_full_row_is_that_of_a_map_of_ones(stores, tmp_path):
    ones = ResultsStore(tmp_path / "ones")
    for i in range(10):
        save(ones, i, torch.ones(1, *SIZE))
    results = evaluation({**stores, "ones": ones}, tmp_path / "out").run()
    for name in ("localization", "outside_box", "saliency_metric"):
        full, theirs = (by_image(results, name, row) for row in ("Full", "ones"))
        assert full.keys() == theirs.keys()
        for image_id, values in full.items():
            assert values == pytest.approx(theirs[image_id], nan_ok=True), name


def test_scores_are_the_same_when_the_store_is_split_in_two_and_merged(stores, tmp_path):
    def tables(store, folder):
        one = evaluation({"good": store}, folder)
        write_evaluation(folder, one, one.run())
        names = ("scores.csv", "summary.json", "tables.md", "curves/deletion.csv")
        return {name: (folder / name).read_bytes() for name in names}

    merged = ResultsStore(tmp_path / "merged")
    ids = list(stores["good"])
    for part in (0, 1):
        half = ResultsStore(tmp_path / f"half{part}")
        for key in ids[part::2]:
            file = f"{file_stem(key)}.safetensors"
            shutil.copy(stores["good"].explanations / file, half.explanations / file)
        one = evaluation({"good": half}, tmp_path / f"out{part}").run()
        assert one["localization"]["good"].scores.ids == [key.image_id for key in ids[part::2]]
        # Two folders become one by copying, scores and all.
        shutil.copytree(half.folder, merged.folder, dirs_exist_ok=True)

    assert sorted(p.stem for p in (merged.folder / "scored").iterdir()) == [
        file_stem(key) for key in ids
    ]
    assert tables(merged, tmp_path / "two") == tables(stores["good"], tmp_path / "whole")


def test_torchmetrics_merges_and_resets(stores):
    for name in metrics():
        whole, first, second = (metrics()[name] for _ in range(3))
        for i, key in enumerate(stores["good"]):
            pair = stores["good"].sample(key), stores["good"].load(key)
            whole.update(*pair)
            (first if i % 2 else second).update(*pair)
        first.merge_state(second)
        assert first.scores().ids == whole.scores().ids
        for column, value in whole.compute().items():
            merged = first.compute()[column]
            assert torch.equal(merged, value) or bool(merged.isnan() & value.isnan()), column
        whole.reset()
        assert len(whole.scores()) == 0


def test_infillers_are_rows_with_the_input_first(stores, tmp_path):
    classifier = share_classifier((0, 0, 64, 48), SIZE)
    which = {"infill_probability": InfillProbability(classifier, {"holes": BernoulliPixels(0.5)})}
    white = MeanInfiller((1.0, 1.0, 1.0))
    one = evaluation(
        {"good": stores["good"]}, tmp_path, which, infillers={"black": BLACK, "white": white}
    )
    results = one.run()
    (table,) = summarise(results, score_frame(results), "input")
    means = {name: row.estimates["holes_probability"].mean for name, row in table.rows.items()}
    assert list(means) == ["input", "black", "white"]
    assert means["black"] < means["input"] < means["white"]
    assert means["black"] == pytest.approx(means["input"] / 2, abs=0.02)


def test_maps_of_groups_are_compared(stores, tmp_path):
    seeds = {}
    for seed in range(3):
        seeds[f"seed={seed}"] = store = ResultsStore(tmp_path / f"seed{seed}")
        for i in range(4):
            save(store, i, box_map(BOX, SIZE) + 0.5 * noise(i, seed))
    which = {"sensitivity": Sensitivity(), "model_randomization": ModelRandomization()}
    groups = {"stable": ["good", "good again"], "seeds": list(seeds)}
    every = {**stores, "good again": stores["good"], **seeds}
    results = evaluation(every, tmp_path / "out", which, groups=groups).run()
    stable = by_image(results, "sensitivity", "stable")
    assert len(stable) == 10
    assert all(values["ssim"] == pytest.approx(1) for values in stable.values())
    seeds = by_image(results, "sensitivity", "seeds")
    assert list(seeds) == ["img00", "img01", "img02", "img03"]
    assert 0 < seeds["img00"]["spearman"] < 0.9
    assert list(results["model_randomization"]) == ["good again", "seed=1", "seed=2"]
    assert len(by_image(results, "model_randomization", "seed=2")) == 4


def test_maps_that_some_run_lacks_are_counted(stores, tmp_path):
    one = evaluation(stores, tmp_path, {"sensitivity": Sensitivity()}, groups={"both": [*stores]})
    assert len(one.run()["sensitivity"]["both"].scores) == 8
    assert one.counts()["both"] == {"left out: not in all runs compared": 2}
    assert one.counts()["noise"] == {"explained": 8, "failed": 2}


def test_scoring_as_it_goes_leaves_nothing_to_do(stores, tmp_path):
    classifier = counted()
    store = {"good": stores["good"]}
    observer = ScoringObserver(
        evaluation(store, tmp_path / "run", metrics(classifier)), "localization"
    )

    class Result:
        def __init__(self, key):
            self.explanation = store["good"].load(key)
            self.row = store["good"].row(key) | {"seed": key.seed}

    observer.begin(0, 10)
    for key in store["good"]:
        observer.result(Result(key))
    observer.skipped({"id": "x", "status": "failed"})
    done = classifier.network.rows
    results = observer.evaluation.run()
    assert classifier.network.rows == done
    assert len(results["deletion"]["good"].scores) == 10


def summary_of(values):
    metric, rows = OutsideBox(), {}
    for row, images in values.items():
        collector = ScoreCollector()
        for image_id, pair in images.items():
            collector.add(Key(image_id, 0), metric.score(*pair))
        rows[row] = collector.row_scores(metric)
    results = {"outside_box": rows}
    (summary,) = summarise(results, score_frame(results), None, Bootstrap(200))
    return summary


def test_tables_show_n_intervals_and_differences():
    boxed = {f"img{i:02d}": sample(i) for i in (1, 2, 3)}
    summary = summary_of(
        {
            "50 % & more": {
                i: (s, explanation(box_map((8, 8, 40, 24), SIZE), i)) for i, s in boxed.items()
            },
            "all|in": {
                i: (s, explanation(box_map(BOX, SIZE), i)) for i, s in list(boxed.items())[:2]
            },
        }
    )
    text = markdown_table(summary)
    lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [cell.strip("| ") for cell in lines[0][:4]] == [
        "row",
        "n",
        "region outside the boxes (%) ↓",
        "minus 50 % & more",
    ]
    assert lines[2][1:4] == ["3", "50.0 [50.0, 50.0]", ""]
    assert lines[3][0] == r"| all\|in"
    assert lines[3][1:4] == ["2", "0.0 [0.0, 0.0]", "-50.0 [-50.0, -50.0]"]
    latex = latex_table(summary)
    assert r"50 \% \& more & 3 & 50.0 [50.0, 50.0]" in latex
    assert latex.count(r"\\") == 3
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1


def test_undefined_numbers_and_missing_rows_are_visible():
    column = OutsideBox.columns[0]
    assert interval(Estimate(0, math.nan, math.nan, math.nan), column) == "-"
    assert interval(Estimate(1, 0.25, math.nan, math.nan), column) == "25.0"
    assert interval(Estimate(9, 0.25, 0.2, 0.3), column, sign=True) == "+25.0 [+20.0, +30.0]"
    bare = {f"img{i:02d}": sample(i) for i in (0, 1, 2)}
    summary = summary_of(
        {"a": {i: (s, explanation(box_map(BOX, SIZE), i)) for i, s in bare.items()}}
    )
    assert summary.rows["a"].estimates["outside"].n == 2
    assert summary.rows["a"].images == 3
    assert math.isnan(summary.rows["a"].values["outside"][0])


def test_where_nothing_is_explained_it_is_said(tmp_path):
    store = ResultsStore(tmp_path / "run")
    store.save_not_explained({"id": "a", "status": "failed", "reason": "x"})
    one = evaluation({"run": store}, tmp_path / "out")
    options = {"resamples": 9, "level": 0.9, "seed": 0, "only_flipped": False, "compare_to": None}
    with pytest.raises(ValueError, match="nothing was scored: run: 0 explained, 1 failed"):
        finish(OmegaConf.create({"evaluation": options}), one, tmp_path / "out")
