"""Which images are scored, what is known of them, and how the others are counted."""

import math

import pytest
import torch
from analytic import explanation, share_classifier
from noise_images import (
    BLACK,
    BOX,
    SIZE,
    by_image,
    evaluation,
    evaluation_of_samples,
    noise,
    sample,
    two_stores,
)

from fido.data.base import Entry
from fido.evaluation.samples import PhotoSamples, StoredSamples
from fido.evaluation.stored_explanations import StoredExplanations
from fido.metrics.deletion import Deletion
from fido.metrics.outside_box import OutsideBox
from fido.records import Sample
from fido.runs.store import ResultsStore


@pytest.fixture
def stores(tmp_path):
    return two_stores(tmp_path)


def test_stores_of_different_pixels_cannot_be_compared(stores, tmp_path):
    other = ResultsStore(tmp_path / "other")
    shifted = sample(1)
    other.save(
        Sample("img01", shifted.image.flip(-1), 0, shifted.boxes, 0),
        explanation(noise(1), "img01"),
        {"id": "img01", "status": "explained", "label": 0, "target": 0},
    )
    with pytest.raises(ValueError, match=r"img01.*different pixels.*data.resize"):
        evaluation({**stores, "other": other}, tmp_path / "out").run()


def test_other_explained_classes_and_misclassified_images_are_counted(stores, tmp_path):
    other = ResultsStore(tmp_path / "other")
    for i in range(3):
        one = sample(i)
        row = {"id": one.id, "status": "explained", "label": 0, "target": 1, "predicted": i % 2}
        other.save(one, explanation(noise(i), one.id, 1), row)
    which = {"outside_box": OutsideBox()}
    both = evaluation({"good": stores["good"], "other": other}, tmp_path / "out", which)
    both.run()
    assert both.counts()["other"] == {"explained": 3, "other class": 3}
    correct = StoredSamples(StoredExplanations({"other": other}), only_correct=True)
    loaded = [correct.load(image_id) is not None for image_id in correct.ids()]
    assert loaded == [True, False, True]
    assert correct.counts() == {"other": {"explained": 3, "left out: misclassified": 1}}


def test_only_common_images_make_means_of_the_same_images(stores, tmp_path):
    one = evaluation(stores, tmp_path / "out", {"outside_box": OutsideBox()}, common=True)
    results = one.run()
    both = [list(by_image(results, "outside_box", row)) for row in stores]
    assert both == [[f"img{i:02d}" for i in range(8)]] * 2
    assert one.counts() == {
        "good": {"explained": 10, "left out: not explained by all": 2},
        "noise": {"explained": 8, "failed": 2},
    }
    crashed = {**stores, "crashed before its first map": ResultsStore(tmp_path / "crashed")}
    assert StoredSamples(StoredExplanations(crashed), common=True).ids() == one.ids()


def test_photos_without_explanations_calibrate_and_are_counted():
    class Photos:
        on_error, only_correct = "stop", True

        def selected(self):
            return [Entry(f"img{i:02d}", None, 0) for i in range(6)]

        def load(self, entry):
            one = sample(int(entry.id[3:]))
            label = 0 if float(one.image[0, 8:24, 8:24].mean()) > 0.5 else 1
            wrong = entry.id == "img03"
            return Sample(one.id, one.image, 1 - label if wrong else label, one.boxes)

    samples = PhotoSamples(Photos(), share_classifier(BOX, SIZE))
    loaded = [samples.load(image_id) for image_id in samples.ids()]
    assert [one is None for one in loaded] == [i == 3 for i in range(6)]
    assert all(one.target == one.label for one in loaded if one)
    assert samples.counts() == {"photos": {"scored": 5, "excluded": 1}}


def test_labels_and_boxes_are_those_of_whichever_store_knows_them(tmp_path):
    bare, full = ResultsStore(tmp_path / "bare"), ResultsStore(tmp_path / "full")
    known = sample(1)
    for store, one in ((bare, Sample(known.id, known.image)), (full, known)):
        row = {"id": one.id, "status": "explained", "label": one.label, "target": 0}
        store.save(one, explanation(noise(1), one.id, 0), row)
    tables = []
    for order in ({"bare": bare, "full": full}, {"full": full, "bare": bare}):
        results = evaluation(order, tmp_path / "-".join(order)).run()
        tables.append({r: by_image(results, "localization", r)["img01"] for r in order})
    for one in (tables[0]["full"], tables[1]["bare"]):
        assert one == pytest.approx(tables[0]["bare"], nan_ok=True)
    assert not math.isnan(tables[0]["bare"]["wsl_error"])


@pytest.mark.parametrize(
    ("label", "boxes", "what"), [(1, None, "labels"), (0, [[0.0, 0.0, 9.0, 9.0]], "boxes")]
)
def test_stores_that_contradict_each_other_are_refused(stores, tmp_path, label, boxes, what):
    other, known = ResultsStore(tmp_path / "other"), sample(1)
    one = Sample(known.id, known.image, label, torch.tensor(boxes) if boxes else known.boxes, 0)
    row = {"id": one.id, "status": "explained", "label": label, "target": 0}
    other.save(one, explanation(noise(1), one.id, 0), row)
    with pytest.raises(ValueError, match=f"img01: 'other' and 'good' hold different {what}"):
        evaluation({"good": stores["good"], "other": other}, tmp_path / "out").run()


def test_photos_without_a_label_are_scored_for_the_predicted_class(tmp_path):
    class Photos:
        on_error, only_correct = "stop", False

        def selected(self):
            return [Entry("img01", None, None)]

        def load(self, entry):
            return Sample("img01", sample(1).image)

    samples = PhotoSamples(Photos(), share_classifier(BOX, SIZE))
    assert samples.load("img01").target in (0, 1)
    assert samples.load("img01").label is None
    results = evaluation_of_samples(samples, tmp_path / "out").run()
    assert 0 < by_image(results, "deletion", "Random map")["img01"]["auc"] < 1
    assert math.isnan(by_image(results, "saliency_metric", "Full")["img01"]["sm"])


def test_reference_rows_are_scored_anew_for_another_class(tmp_path):
    def random_map(target):
        store, one = ResultsStore(tmp_path / f"class{target}"), sample(1)
        row = {"id": one.id, "status": "explained", "label": one.label, "target": target}
        store.save(one, explanation(noise(1), one.id, target), row)
        which = {"deletion": Deletion(share_classifier(BOX, SIZE), BLACK)}
        results = evaluation({"a": store}, tmp_path / "out", which).run()
        return by_image(results, "deletion", "Random map")["img01"]["auc"]

    first, second = (random_map(target) for target in (0, 1))
    assert first != second
