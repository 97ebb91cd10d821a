import csv
import dataclasses
import os
import sys
from functools import partial

import pytest
import torch
from planted import planted_classifier, write_photo
from planted_run import Notes, Planted

from fido.data.folder import FolderPhotos
from fido.data.photo import UnreadableImageError
from fido.explainers.baselines import RandomMap
from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR
from fido.records import Explanation, Key
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
        seed=arguments.get("seed", 0),
    )
    store = ResultsStore(folder)
    observers = [notes] if notes else []
    return Runner(classifier, infiller, explainer, store, observers=observers, **arguments)


def test_a_run_leaves_maps_edits_and_a_table(tmp_path, photos):
    summary = runner(tmp_path / "run").run(Planted(photos, ["a", "b"]))
    assert summary["images"] == {"explained": 2}
    assert summary["cost"] == {"forward": 160, "backward": 160, "infill": 160}
    store = ResultsStore(tmp_path / "run")
    assert list(store) == [Key("a", 1), Key("b", 1)]
    row = store.row("a")
    assert (row["target"], row["target_name"], row["predicted_name"]) == (1, "bright", "bright")
    assert row["p_original"] > 0.99
    _, kept, removed = store.edit("a").probabilities[:, 1].tolist()
    assert kept > 0.99
    assert removed < 0.05
    assert store.class_names() == ["dark", "bright"]
    with (tmp_path / "run" / "scores.csv").open(newline="") as lines:
        assert [r["id"] for r in csv.DictReader(lines)] == ["a", "b"]


def test_what_is_done_is_not_done_again(tmp_path, photos):
    source = Planted(photos, ["a", "b", "c"], limit=1)
    runner(tmp_path / "run").run(source)
    path = tmp_path / "run" / "explanations" / "a.class1.seed0.safetensors"
    before = path.stat().st_mtime_ns
    notes = Notes()
    source.limit = None
    runner(tmp_path / "run", notes).run(source)
    assert notes.begun == [(1, 2)]
    assert notes.results == ["b", "c"]
    assert (
        tmp_path / "run" / "explanations" / "a.class1.seed0.safetensors"
    ).stat().st_mtime_ns == before


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
    assert list(ResultsStore(tmp_path / "run")) == [Key("a", 1)]
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
    assert list(ResultsStore(tmp_path / "run")) == [Key("a", 1)]
    assert "a,explained" in (tmp_path / "run" / "scores.csv").read_text()


def test_images_per_fit_below_one_is_named(tmp_path):
    with pytest.raises(ValueError, match="batch_size"):
        runner(tmp_path, batch_size=0)


def test_targets_and_seeds_share_a_folder_and_each_is_done_once(tmp_path, photos):
    source = Planted(photos, ["a", "b"])
    run = tmp_path / "run"
    for target, seed in ((1, 0), ("dark", 0), (1, 5), ("predicted", 0), ("second", 5)):
        runner(run, steps=20, target=target, seed=seed).run(source)
    assert list(ResultsStore(run)) == [
        Key(name, target, seed)
        for name in "ab"
        for target, seed in ((0, 0), (0, 5), (1, 0), (1, 5))
    ]
    a, b = (ResultsStore(run).load(Key("a", 1, seed)).saliency for seed in (0, 5))
    assert not torch.equal(a, b)
    with (run / "scores.csv").open(newline="") as lines:
        assert len(list(csv.DictReader(lines))) == 8


@pytest.mark.parametrize("target", ["predicted", "second", "label", "bright", 0])
def test_a_run_that_is_started_again_asks_no_network(tmp_path, photos, target):
    source = Planted(photos, ["a", "b"])
    runner(tmp_path / "run", steps=4, target=target).run(source)
    again, notes = runner(tmp_path / "run", notes := Notes(), steps=4, target=target), notes
    again.classifier.network.forward = lambda x: pytest.fail("a photo was classified")
    summary = again.run(source)
    assert notes.begun == [(2, 0)]
    assert summary["missing"] == 0


def test_damaged_results_are_announced_and_made_again(tmp_path, photos):
    source = Planted(photos, ["a", "b"])
    runner(tmp_path / "run", steps=4).run(source)
    path = tmp_path / "run" / "explanations" / "a.class1.seed0.safetensors"
    whole = path.read_bytes()
    path.write_bytes(b"")
    (path.parent / "foreign.safetensors").write_bytes(b"")
    notes = Notes()
    runner(tmp_path / "run", notes, steps=4).run(source)
    assert notes.others == [(path.name, "damaged"), ("foreign.safetensors", "damaged")]
    assert notes.results == ["a"]
    assert path.read_bytes() == whole


def test_a_photo_without_finite_logits_or_map_is_marked_failed(tmp_path, photos):
    made = runner(tmp_path / "run", steps=4)
    forward = made.classifier.network.forward
    made.classifier.network.forward = lambda x: torch.where(
        (x.flatten(1).amax(1) < 0.5)[:, None], torch.nan, forward(x)
    )
    summary = made.run(Planted(photos, ["a", "dark"]))
    assert summary["images"] == {"explained": 1, "failed": 1}

    class Hollow:
        def explain(self, samples):
            saliency = torch.full((1, 40, 48), torch.nan)
            return [Explanation(s.id, s.target, saliency) for s in samples]

    made = runner(tmp_path / "hollow", steps=4)
    made.explainer = Hollow()
    assert made.run(Planted(photos, ["a"]))["images"] == {"failed": 1}


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_that_are_no_class_are_refused_as_targets_are(tmp_path, photos, label):
    class Mislabelled(Planted):
        def entries(self):
            return [dataclasses.replace(entry, label=label) for entry in super().entries()]

    with pytest.raises(ValueError, match=rf"label of image 'a', {label}, .* expected 0 to 1"):
        runner(tmp_path / "run", steps=4, target="label").run(Mislabelled(photos, ["a"]))


@pytest.mark.parametrize("label", [-1, 2, None])
def test_an_image_without_a_label_is_marked_and_the_rest_goes_on(tmp_path, photos, label):
    class OneMislabelled(Planted):
        def entries(self):
            first, *others = super().entries()
            return [dataclasses.replace(first, label=label), *others]

    notes = Notes()
    made = runner(tmp_path / "run", notes, steps=4, target="label")
    summary = made.run(OneMislabelled(photos, ["a", "b"]))
    assert summary["images"] == {"explained": 1, "failed": 1}
    assert notes.others == [("a", "failed")]
    assert "label" in (tmp_path / "run" / "scores.csv").read_text(encoding="utf-8").splitlines()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes")
def test_names_that_are_no_text_are_ids_like_others(tmp_path):
    names = [
        b"\xff\xfe.png",
        b"\xff\xfd.png",
        b"a\xe9.png",
        b"..png",
        b"...png",
        b"-rf.png",
        b"con.png",
    ]
    write_photo(tmp_path / "one.png")
    (tmp_path / "photos").mkdir()
    for name in [*names, b"A.png", b"a.png", b"x\n.png", b"x .png", b"x" * 250 + b".png"]:
        target = os.path.join(os.fsencode(tmp_path / "photos"), name)
        os.link(tmp_path / "one.png", target)
    source = FolderPhotos(path=str(tmp_path / "photos"), size=(40, 48), crop_fraction=1.0)
    store = ResultsStore(tmp_path / "run")

    def run():
        return Runner(planted_classifier(), MeanInfiller(), RandomMap(4), store).run(source)

    assert run()["this_run"]["images"] == 10  # two are hidden
    assert {key.image_id for key in store} == {entry.id for entry in source.entries()}
    assert run()["this_run"]["images"] == 0
    assert all(p.parent.name == "explanations" for p in tmp_path.rglob("*.safetensors"))
    assert "\\udce9" in (tmp_path / "run" / "scores.csv").read_text()


@pytest.mark.parametrize("kind", [RuntimeError, AssertionError, ZeroDivisionError, ValueError])
def test_a_photo_that_the_network_refuses_is_marked_and_the_rest_goes_on(tmp_path, photos, kind):
    made, notes = runner(tmp_path / "run", steps=1), Notes()
    made.observers = [notes]
    made.explainer = RandomMap()  # masked images of the others may be as dark

    def picky(module, given):
        if bool((given[0].amax((1, 2, 3)) < 0.21).any()) and len(given[0]) == 1:
            raise kind("singular")

    made.classifier.network.register_forward_pre_hook(picky)
    summary = made.run(Planted(photos, ["a", "dark", "z"]))
    assert summary["images"] == {"explained": 2, "failed": 1}
    assert notes.others == [("dark", "failed")]
    (row,) = made.store.rows_not_explained()
    assert row["reason"] == f"the classifier takes no such photo: {kind.__name__}: singular"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("x"), OSError("x"), RuntimeError("CUDA error: x")]
)
def test_what_is_no_fault_of_the_photo_ends_the_run(tmp_path, photos, error):
    made = runner(tmp_path / "run", steps=1)

    def broken(module, given):
        raise error

    made.classifier.network.register_forward_pre_hook(broken)
    with pytest.raises(type(error), match="x"):
        made.run(Planted(photos, ["a", "b"]))
    assert made.store.rows() == []
