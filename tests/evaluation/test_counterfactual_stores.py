"""Stores of counterfactuals: each with its own classifier, its guide, its population."""

import math

import numpy as np
import pytest
import torch
from analytic import share_classifier
from hydra.utils import instantiate
from noise_images import BOX, SIZE, evaluation, sample
from small_networks import seeded

from fido.app.evaluate import exclude_guides
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.frame import score_frame
from fido.evaluation.parts import Part, parts_by_classifier
from fido.evaluation.population import only_flipped
from fido.evaluation.stored_explanations import StoredExplanations
from fido.evaluation.summary import summarise
from fido.metrics.closeness import Closeness
from fido.metrics.cost import Cost
from fido.metrics.diversity import Diversity
from fido.metrics.oracles import Oracles
from fido.metrics.subjects import ComparedRows
from fido.metrics.validity import Validity
from fido.records import Explanation
from fido.runs.store import ResultsStore

BOXES = {"left": BOX, "right": (40, 20, 56, 36)}
CLASSIFIERS = {name: {"_target_": f"planted.{name}", "size": [48, 64]} for name in BOXES}


def save(store, i, image, target=1, seed=0):
    one = sample(i)
    change = (image.float() / 255 - one.image).abs().mean(0, keepdim=True)
    result = Explanation(
        one.id, target, change, counterfactual=image, seed=seed, cost={"forward": 3}
    )
    row = {"id": one.id, "status": "explained", "label": 0, "target": target, "predicted": 0}
    store.save(one, result, row)


def pixels(i):
    return (sample(i).image * 255).round().to(torch.uint8)


def blackened(i, box=BOX):
    """The box black: class 1 for a classifier that looks at it."""
    image = pixels(i)
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = 0
    return image


def whitened(i, box=BOX):
    image = pixels(i)
    left, top, right, bottom = box
    image[:, top:bottom, left:right] = 255
    return image


def two_halves(folder):
    """Of ten photos "some" turns the even ones, "none" turns none."""
    some, none = ResultsStore(folder / "some"), ResultsStore(folder / "none")
    for i in range(10):
        save(some, i, blackened(i) if i % 2 == 0 else whitened(i))
        save(none, i, whitened(i))
    return {"some": some, "none": none}


def means(one, only=False, compare_to=None):
    results = only_flipped(one.run()) if only else one.run()
    return {s.name: s.rows for s in summarise(results, score_frame(results), compare_to)}


def two_metrics():
    network = seeded(0)
    return {
        "validity": Validity(share_classifier(BOX, SIZE)),
        "closeness": Closeness(network, ["first"]),
        "cost": Cost(),
    }


def test_of_those_that_flipped_only_and_of_all(tmp_path):
    stores = two_halves(tmp_path)
    one = evaluation(stores, tmp_path / "out", two_metrics())
    every, flipped = means(one, compare_to="none"), means(one, True)
    assert every["validity"]["some"].estimates["ta"].mean == 0.5
    assert flipped["validity"]["some"].estimates["ta"].n == 10
    assert every["closeness"]["some"].estimates["l1"].n == 10
    assert flipped["closeness"]["some"].estimates["l1"].n == 5

    def change(made):
        by_hand = [(made(i).double() - pixels(i).double()).abs().mean() for i in range(0, 10, 2)]
        return np.mean(by_hand) / 255

    assert flipped["closeness"]["some"].estimates["l1"].mean == pytest.approx(change(blackened))
    assert flipped["closeness"]["none"].estimates["l1"].n == 0
    # Paired image by image; the odd ones are equal.
    difference = every["closeness"]["some"].differences["l1"]
    assert difference.n == 10
    assert difference.mean == pytest.approx((change(blackened) - change(whitened)) / 2, rel=1e-4)
    with pytest.raises(ValueError, match="needs validity"):
        only_flipped(evaluation(stores, tmp_path / "out", {"cost": Cost()}).run())


def test_another_image_of_the_same_change_is_scored_anew(tmp_path):
    """A black and a white box are as far from grey: the map is the same, the class is not."""
    store, photo = ResultsStore(tmp_path / "run"), sample(0)
    grey = torch.full((3, *SIZE), 128, dtype=torch.uint8)
    found = []
    for value in (28, 228):
        image = grey.clone()
        image[:, 8:24, 8:24] = value
        change = torch.zeros(1, *SIZE)
        change[:, 8:24, 8:24] = 100 / 255
        row = {"id": photo.id, "status": "explained", "label": 0, "target": 1, "predicted": 0}
        store.save(photo, Explanation(photo.id, 1, change, counterfactual=image), row)
        metrics = {"validity": Validity(share_classifier(BOX, SIZE))}
        one = evaluation({"run": store}, tmp_path / "out", metrics)
        found.append(means(one)["validity"]["run"].estimates["p_target"].mean)
    assert found == pytest.approx([1 - 28 / 255, 1 - 228 / 255], abs=1e-6)


def test_a_suite_is_scored_with_each_stores_own_classifier(tmp_path):
    stores = {}
    for which, box in BOXES.items():
        stores[which] = ResultsStore(tmp_path / which, {"classifier": CLASSIFIERS[which]})
        for i in range(3):
            image = blackened(i, box)
            (other,) = (b for name, b in BOXES.items() if name != which)
            left, top, right, bottom = other
            image[:, top:bottom, left:right] = 255  # for the other one it is no class 1
            save(stores[which], i, image)

    def build(settings):
        which = settings["_target_"].split(".")[1]
        return {"validity": Validity(share_classifier(BOXES[which], SIZE))}, {"validity": settings}

    def accuracies(build):
        stored = StoredExplanations(stores)
        parts = parts_by_classifier(stored, ComparedRows(list(stores)), build)
        rows = means(Evaluation(parts, stored, tmp_path / "out"))["validity"]
        return {name: row.estimates["ta"].mean for name, row in rows.items()}

    assert accuracies(build) == {"left": 1, "right": 1}
    wrong = {"left": "right", "right": "left"}
    swapped = {which: CLASSIFIERS[other] for which, other in wrong.items()}
    assert accuracies(lambda s: build(swapped[s["_target_"].split(".")[1]])) == {
        "left": 0,
        "right": 0,
    }


def test_the_guide_of_a_store_is_no_oracle(tmp_path):
    guide = {"_target_": "small_networks.seeded", "seed": 2}
    store = ResultsStore(tmp_path / "run", {"explainer": {"guide": {"classifier": guide}}})
    free = ResultsStore(tmp_path / "free", {"explainer": {"guide": None}})

    def part(on_same, name="run"):
        oracles = Oracles(seeded(0), {"a": seeded(1), "b": seeded(2)}, on_same)
        return Part("", {"oracles": oracles}, {}, None, ComparedRows([name]))

    stores = {"run": store, "free": free}
    exclude_guides([part("refuse", "free")], stores, instantiate)
    with pytest.raises(ValueError, match=r"oracles\.b has the weights of the guide of run"):
        exclude_guides([part("refuse")], stores, instantiate)
    skipping = part("skip")
    exclude_guides([skipping], stores, instantiate)
    oracles = skipping.metrics["oracles"]
    assert oracles._skipped == {"b"}


def test_seeds_of_one_photo_are_compared_within_and_across_folders(tmp_path):
    a, b = ResultsStore(tmp_path / "a"), ResultsStore(tmp_path / "b")
    for i in range(2):
        save(a, i, blackened(i), seed=0)
        save(b, i, whitened(i), seed=1)
    save(a, 2, blackened(2))
    stores = {"a": a, "b": b}
    metric = {"diversity": Diversity(seeded(0), ["first"])}
    one = evaluation(stores, tmp_path / "out", metric, groups={"seeds": ["a", "b"]})
    row = means(one)["diversity"]["seeds"]
    by_hand = [(blackened(i).double() - whitened(i).double()).abs().mean() / 255 for i in (0, 1)]
    assert row.estimates["l1"].mean == pytest.approx(float(sum(by_hand)) / 2)
    assert one.counts()["seeds"] == {"left out: one counterfactual only": 1}
    save(a, 2, whitened(2), seed=5)
    one = evaluation({"a": a}, tmp_path / "out", metric, groups={"all": ["a"]})
    row = means(one)["diversity"]["all"]
    assert row.estimates["l1"].n == 1
    assert not math.isnan(row.estimates["l1"].mean)
