"""Counterfactuals in runs: killed and gone on, the folder's bytes, the command line."""

import sys

import pytest
import torch
import warm_process
from command_line import ROOT, environment, files
from counterfactuals import squares_denoiser

from fido.classifiers.squares import squares_classifier
from fido.data.squares import Squares
from fido.diffusion.regions.everywhere import Everywhere
from fido.explainers.guided_diffusion import GuidedDiffusion
from fido.infillers.mean import MeanInfiller
from fido.runs.runner import Runner
from fido.runs.store import ResultsStore
from fido.runs.target import TargetChoice

SQUARES = ["explainer=dvce", "data=squares", "classifier=squares", "data.index=[0,100]"]
SQUARES += ["denoiser@explainer.denoiser=squares", "logger=none", "figures=false"]


class KillAfter:
    """An observer that is a user's Ctrl-C after some results."""

    def __init__(self, results):
        self.left = results

    def begin(self, done, to_do):
        pass

    def result(self, result):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt

    def skipped(self, row):
        pass


def run(folder, observers=(), batch_size=1):
    classifier = squares_classifier()
    explainer = GuidedDiffusion(
        classifier, squares_denoiser(), Everywhere(), budget=[0.2, 0.8], start=0.3, seed=5
    )
    store = ResultsStore(folder, {"explainer": {"_target_": "dvce"}})
    source = Squares(size=(16, 16), crop_fraction=1.0, index=[0, 7, 100, 203, 300, 401])
    runner = Runner(
        classifier, MeanInfiller(), explainer, store, "second", batch_size, 5, observers
    )
    return runner.run(source), store


def test_killed_and_gone_on_leaves_the_same_bytes(tmp_path):
    summary, _ = run(tmp_path / "whole")
    assert summary["images"] == {"explained": 6}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", [KillAfter(3)])
    assert len(ResultsStore(tmp_path / "killed")) == 3
    run(tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


def test_the_store_gives_back_what_was_measured(tmp_path):
    _, store = run(tmp_path / "run", batch_size=4)
    for key in store:
        explanation, row = store.load(key), store.row(key)
        assert explanation.counterfactual.dtype == torch.uint8
        assert explanation.estimates.shape[1:] == (3, 16, 16)
        image = explanation.counterfactual[None].float() / 255
        probability = squares_classifier().probabilities(image)[0]
        assert row["last_p_target"] == float(probability[key.target])
        assert row["last_flipped"] == float(probability.argmax() == key.target)
        change = image[0] - store.sample(key).image
        assert row["last_distance"] == pytest.approx(float(change.abs().mean()), abs=1e-6)
        assert row["denoise"] > 0
        assert row["p_counterfactual"] == pytest.approx(row["last_p_target"], abs=1e-6)
        assert row["predicted_counterfactual"] == int(probability.argmax())
        assert row["flipped"] == row["last_flipped"]
        assert row["l1"] == pytest.approx(row["last_distance"], abs=1e-6)


def test_the_summary_has_means_of_what_was_reached(tmp_path):
    summary, store = run(tmp_path / "run")
    rows = [store.row(key) for key in store]
    for name in ("flipped", "l1", "p_counterfactual"):
        assert summary["mean"][name] == pytest.approx(sum(row[name] for row in rows) / 6)
    assert summary["cost"]["denoise"] == sum(row["denoise"] for row in rows) > 0


def test_photos_of_the_target_class_and_without_a_pair_are_marked(tmp_path):
    classifier = squares_classifier()
    explainer = GuidedDiffusion(
        classifier, squares_denoiser(), Everywhere(), budget=0.8, start=0.85, seed=0
    )
    source = Squares(size=(16, 16), crop_fraction=1.0, index=[0, 100, 300])
    classes = [int(classifier(source.load(e).image[None]).argmax()) for e in source.selected()]

    def rows(folder, **arguments):
        store = ResultsStore(tmp_path / folder, {})
        runner = Runner(classifier, MeanInfiller(), explainer, store, **arguments)
        runner.run(source)
        return [(row["status"], row["reason"]) for row in store.rows()]

    same = rows("same", target=classes[0])
    assert [status for status, _ in same].count("failed") == classes.count(classes[0])
    assert "already" in same[0][1]
    choice = TargetChoice(pairs={classes[0]: 1 - classes[0]})
    paired = [status for status, _ in rows("pairs", target="pairs", choice=choice)]
    assert paired == ["explained" if c == classes[0] else "excluded" for c in classes]


def explain(folder, *overrides):
    line = [sys.executable, ROOT / "explain.py", *SQUARES, *overrides]
    return warm_process.run(line, folder, environment())


def test_the_predicted_class_is_refused_in_words(tmp_path):
    done = explain(tmp_path)
    assert done.returncode == 1
    assert "a counterfactual needs another one; give target=second" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_makes_counterfactuals(tmp_path):
    done = explain(tmp_path, "target=second", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    store = ResultsStore(tmp_path / "run")
    assert len(store) == 2
    assert all(store.row(key)["flipped"] == 1 for key in store)
    scores = (tmp_path / "run" / "scores.csv").read_text().splitlines()
    assert "p_original,p_kept,p_removed,area,p_counterfactual,predicted_counterfactual" in scores[0]
