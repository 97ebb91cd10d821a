import csv
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from planted import planted_classifier
from planted_run import Notes, Planted

from fido.data.photo import UnreadableImageError
from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR
from fido.runs.runner import Runner
from fido.runs.store import ResultsStore


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def runner(folder, notes=None, **arguments):
    classifier, infiller = planted_classifier(), MeanInfiller((0.2, 0.2, 0.2))
    explainer = Fido(
        classifier,
        infiller,
        SSR(0.02),
        partial(ConcreteMask, grid=10),
        steps=arguments.pop("steps", 40),
        samples=2,
    )
    store = ResultsStore(folder)
    observers = [notes] if notes else []
    return Runner(classifier, infiller, explainer, store, observers=observers, **arguments)


def test_a_run_leaves_map_figure_and_scores(tmp_path, photos):
    summary = runner(tmp_path / "run").run(Planted(photos, ["a", "b"]))
    assert summary["images"] == {"explained": 2}
    assert summary["cost"] == {"forward": 160, "backward": 160, "infill": 160}
    store = ResultsStore(tmp_path / "run")
    assert list(store) == ["a", "b"]
    row = store.row("a")
    assert (row["target"], row["target_name"], row["predicted_name"]) == (1, "bright", "bright")
    assert row["p_original"] > 0.99
    assert row["p_kept"] > 0.99
    assert row["p_removed"] < 0.05
    with Image.open(tmp_path / "run" / "figures" / "a.png") as figure:
        assert figure.size[0] > 1000
        assert np.asarray(figure.convert("L")).std() > 20
    with (tmp_path / "run" / "scores.csv").open(newline="") as lines:
        assert [r["id"] for r in csv.DictReader(lines)] == ["a", "b"]


def test_what_is_done_is_not_done_again(tmp_path, photos):
    source = Planted(photos, ["a", "b", "c"], limit=1)
    runner(tmp_path / "run").run(source)
    before = (tmp_path / "run" / "explanations" / "a.safetensors").stat().st_mtime_ns
    notes = Notes()
    source.limit = None
    runner(tmp_path / "run", notes).run(source)
    assert notes.begun == [(1, 2)]
    assert notes.results == ["b", "c"]
    assert (tmp_path / "run" / "explanations" / "a.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("batch_size", [1, 3])
def test_maps_do_not_depend_on_images_per_fit(tmp_path, photos, batch_size):
    source = Planted(photos, ["a", "b", "c", "d"])
    runner(tmp_path / "run", batch_size=batch_size, steps=10).run(source)
    runner(tmp_path / "reference", batch_size=2, steps=10).run(source)
    for name in "abcd":
        torch.testing.assert_close(
            ResultsStore(tmp_path / "run").load(name).saliency,
            ResultsStore(tmp_path / "reference").load(name).saliency,
            atol=1e-5,
            rtol=0,
        )


def test_an_unreadable_image_stops_and_keeps_what_was_done(tmp_path, photos):
    source = Planted(photos, ["a", "broken", "c"])
    with pytest.raises(UnreadableImageError, match=r"broken\.png"):
        runner(tmp_path / "run", steps=2).run(source)
    assert list(ResultsStore(tmp_path / "run")) == ["a"]
    assert (tmp_path / "run" / "scores.csv").is_file()


def test_an_unreadable_image_is_skipped_and_counted(tmp_path, photos):
    source, notes = Planted(photos, ["a", "broken", "c"], on_error="skip"), Notes()
    summary = runner(tmp_path / "run", notes, steps=2, batch_size=2).run(source)
    assert summary["images"] == {"explained": 2, "unreadable": 1}
    assert notes.others == [("broken", "unreadable")]


def test_only_correct_leaves_wrong_predictions_out_and_counts_them(tmp_path, photos):
    source, notes = Planted(photos, ["a", "dark", "c"], only_correct=True), Notes()
    summary = runner(tmp_path / "run", notes, steps=2).run(source)
    assert summary["images"] == {"explained": 2, "excluded": 1}
    assert notes.others == [("dark", "excluded")]


def test_a_failed_image_is_marked_and_the_rest_goes_on(tmp_path, photos):
    made = runner(tmp_path / "run", steps=5, batch_size=3)
    forward = made.classifier.network.forward

    def explode(x):
        # Images without a bright box get no number, as an overflow would give.
        logits = forward(x)
        bad = x.flatten(1).amax(1) < 0.5
        return torch.where(bad.unsqueeze(1), torch.full_like(logits, float("nan")), logits)

    made.classifier.network.forward = explode
    made.target = 1
    summary = made.run(Planted(photos, ["a", "dark", "c"]))
    assert summary["images"] == {"explained": 2, "failed": 1}
    row = next(r for r in made.store.rows() if r["id"] == "dark")
    assert "not finite" in row["reason"]
    # The region removed is dark, too: it has no probability, and JSON no word for that.
    assert summary["mean"]["p_removed"] is None
    assert summary["mean"]["p_kept"] > 0.5


def test_ctrl_c_leaves_finished_images_and_their_scores(tmp_path, photos):
    made = runner(tmp_path / "run", steps=2)
    explain, calls = made.explainer.explain, []

    def interrupted(samples):
        calls.append(samples[0].id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return explain(samples)

    made.explainer.explain = interrupted
    with pytest.raises(KeyboardInterrupt):
        made.run(Planted(photos, ["a", "b", "c"]))
    assert list(ResultsStore(tmp_path / "run")) == ["a"]
    assert "a,explained" in (tmp_path / "run" / "scores.csv").read_text()


def test_images_per_fit_below_one_is_named(tmp_path):
    with pytest.raises(ValueError, match="batch_size"):
        runner(tmp_path, batch_size=0)
