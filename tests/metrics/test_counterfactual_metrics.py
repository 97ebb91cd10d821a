"""Metrics of counterfactual images against slow oracles and answers that are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from analytic import explanation as plain_explanation
from analytic import share_classifier, white_sample
from PIL import Image
from planted import BOX, planted_classifier, planted_sample
from small_networks import TwoLayers, plain
from torch import nn
from torch.nn.functional import interpolate

from fido.classifiers.base import Classifier
from fido.data.folder import FolderPhotos
from fido.data.squares import Squares
from fido.metrics.closeness import Closeness
from fido.metrics.cost import Cost
from fido.metrics.cout import CounterfactualTransition
from fido.metrics.diversity import Diversity
from fido.metrics.functional.class_correspondence import shared_classes
from fido.metrics.functional.image_distance import changed_area, lp_distance
from fido.metrics.oracles import Oracles
from fido.metrics.realism import Realism
from fido.metrics.score_set import ImageScore, ScoreSet
from fido.metrics.validity import Validity
from fido.records import Explanation

SIZE = (40, 48)


def noise(seed=0, size=SIZE):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)


def counterfactual(image, sample, target=0, **more):
    change = (image.float() - (sample.image * 255).round()).abs().mean(0, keepdim=True) / 255
    return Explanation(sample.id, target, change, counterfactual=image, **more)


def darkened(share=1.0):
    """The planted photo with the left part of its box as dark as the rest."""
    sample = planted_sample()
    image = (sample.image * 255).round().to(torch.uint8)
    left, top, right, bottom = BOX
    image[:, top:bottom, left : left + round(share * (right - left))] = 51
    return sample, counterfactual(image, sample)


def small(size=SIZE):
    torch.manual_seed(0)
    return plain(TwoLayers(), size)


def every_metric():
    return {
        "validity": Validity(planted_classifier()),
        "closeness": Closeness(small(), ["first", "second"]),
        "oracles": Oracles(planted_classifier(), {"other": planted_classifier(gain=5.0)}),
        "cout": CounterfactualTransition(planted_classifier(), steps=10),
        "realism": realism(),
    }


def realism(k=1, reference=None):
    return Realism(planted_classifier(), reference or squares_as_photos, mean_colours(), None, k)


def squares_as_photos(size, crop_fraction, interpolation):
    return Squares(size=size, crop_fraction=1.0, index=list(range(0, 480, 7)))


class MeanColours(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def mean_colours():
    return Classifier(MeanColours(), SIZE, mean=(0,) * 3, std=(1,) * 3, class_names=["r", "g", "b"])


@pytest.mark.parametrize("name", list(every_metric()))
def test_an_explanation_without_a_counterfactual_has_no_numbers(name):
    metric, sample = every_metric()[name], planted_sample()
    score = metric.score(sample, plain_explanation(torch.ones(1, *SIZE), sample.id))
    assert set(score.values) == set(metric.recorded)
    assert all(math.isnan(value) for value in score.values.values())
    scores = ScoreSet.collate([(sample.id, score), (sample.id, score)])
    assert all(np.isnan(values).all() for values in metric.finalize(scores).values())
    assert metric.set_values(scores) == {}


@pytest.mark.parametrize("name", list(every_metric()))
def test_the_metrics_of_a_store_are_those_of_its_pngs(name, tmp_path):
    metric, sample = every_metric()[name], planted_sample()
    sample = replace(sample, image=sample.image + 0.3 / 255)  # no multiple of 1 / 255
    image = noise()
    stored = metric.score(sample, counterfactual(image, sample)).values
    files = {"photo": (sample.image * 255).round().to(torch.uint8), "image": image}
    read = {}
    for which, pixels in files.items():
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / f"{which}.png")
        with Image.open(tmp_path / f"{which}.png") as file:
            read[which] = torch.from_numpy(np.array(file)).permute(2, 0, 1)
    photo = replace(sample, image=read["photo"].float() / 255)
    again = metric.score(photo, counterfactual(read["image"], photo)).values
    assert again == pytest.approx(stored, rel=0, abs=0, nan_ok=True)


def test_validity_is_what_the_formula_of_the_classifier_says():
    sample, half = darkened(0.5)
    values = Validity(planted_classifier()).score(sample, half).values
    mean = (0.2 * 6 + 230 / 255 * 6) / 12  # 0.9 is stored as 230 of 255
    bright = 1 / (1 + math.exp(-20 * (mean - 0.5)))
    assert values["p_target"] == pytest.approx(1 - bright, abs=1e-6)
    assert values["p_original"] == pytest.approx(bright, abs=1e-6)
    assert values["p_original_photo"] == pytest.approx(
        1 / (1 + math.exp(-20 * (230 / 255 - 0.5))), abs=1e-6
    )
    assert (values["ta"], values["oa"], values["flip_rate"]) == (0, 1, 0)
    assert math.isnan(values["top5"])  # of two classes
    whole = Validity(planted_classifier()).score(*darkened(1.0)).values
    assert (whole["ta"], whole["oa"], whole["flip_rate"]) == (1, 0, 1)


def test_the_target_may_be_among_the_first_five():
    class Ranking(nn.Module):
        def forward(self, x):
            return torch.arange(7.0).expand(len(x), 7) + 0 * x.mean((1, 2, 3)).unsqueeze(1)

    metric, sample = Validity(plain(Ranking(), SIZE)), planted_sample()
    found = [
        metric.score(sample, counterfactual(noise(), sample, target)).values["top5"]
        for target in range(7)
    ]
    assert found == [0, 0, 1, 1, 1, 1, 1]


def test_distances_are_those_of_numpy():
    sample, image = planted_sample(), noise(3)
    values = (
        Closeness(small(), ["first", "second"]).score(sample, counterfactual(image, sample)).values
    )
    a = np.round(sample.image.numpy() * 255).astype(np.float64)
    change = np.abs(a - image.numpy()) / 255
    assert values["l1"] == pytest.approx(change.mean())
    assert values["l15"] == pytest.approx((change**1.5).mean() ** (1 / 1.5))
    assert values["l2"] == pytest.approx(np.sqrt((change**2).mean()))
    assert values["linf"] == pytest.approx(change.max())
    assert values["area"] == (change.max(0) * 255 >= 16 - 1e-6).mean()
    network, each = small(), []
    pair = torch.stack([torch.from_numpy(a).float(), image.float()]) / 255
    maps = [network.network.first(pair), None]
    maps[1] = network.network.second(torch.relu(maps[0]))
    for one in maps:
        x, y = one.double()
        each.append((1 - (x * y).sum(0) / (x.norm(dim=0) * y.norm(dim=0))).mean())
    assert values["feature"] == pytest.approx(float(sum(each)) / 2, abs=1e-6)


def test_no_change_is_at_distance_0_from_the_photo():
    sample = planted_sample()
    same = counterfactual((sample.image * 255).round().to(torch.uint8), sample)
    values = Closeness(small(), ["first"]).score(sample, same).values
    assert {n: values[n] for n in ("l1", "l15", "l2", "linf", "feature", "area")} == dict.fromkeys(
        ("l1", "l15", "l2", "linf", "feature", "area"), 0.0
    )
    assert values["ssim"] == pytest.approx(1)
    transition = CounterfactualTransition(planted_classifier()).score(sample, same).values
    assert transition["gain"] == pytest.approx(0, abs=1e-9)
    assert transition["cout"] == pytest.approx(-1, abs=0.01)
    gain = Oracles(planted_classifier(), {"a": planted_classifier(gain=3.0)}).score(sample, same)
    assert gain.values["gain_a"] == 0


@pytest.mark.parametrize("p", [0.5, 0, -1, math.nan])
def test_no_distance_below_p_1(p):
    with pytest.raises(ValueError, match="p must be"):
        lp_distance(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4), p)


def test_grey_levels_count_from_the_first_that_is_asked_for():
    a = torch.zeros(1, 3, 1, 4)
    b = a.clone()
    b[0, 1, 0] = torch.tensor([0, 15, 16, 17]) / 255
    assert float(changed_area(a, b, 16)) == 0.5
    with pytest.raises(ValueError, match="levels"):
        Closeness(small(), ["first"], levels=0)


def test_transition_is_the_slow_loop_over_single_pixels():
    sample, image = planted_sample(), noise(5)
    classifier = planted_classifier()
    score = CounterfactualTransition(classifier, steps=40 * 48).score(
        sample, counterfactual(image, sample)
    )
    photo, other = sample.image.clone(), image.float() / 255
    photo = (photo * 255).round() / 255
    change = (photo - other).abs().sum(0).flatten()
    current, answers = photo.clone().flatten(1), []
    order = change.argsort(descending=True, stable=True)
    for step in range(len(order) + 1):
        if step:
            current[:, order[step - 1]] = other.flatten(1)[:, order[step - 1]]
        if step % 240 == 0:  # the others are the product's
            answers.append(classifier.probabilities(current.view(1, 3, *SIZE))[0, 0])
    # Pixels of equal change come in another order here and there.
    assert score.curve[::240].numpy() == pytest.approx(np.array(answers), abs=0.05)
    share = np.linspace(0, 1, len(score.curve))
    target = np.trapezoid(score.curve.numpy(), share)
    assert score.values["auc_target"] == pytest.approx(target)
    assert score.values["cout"] == pytest.approx(2 * target - 1)  # of two classes
    assert score.values["gain"] == pytest.approx(2 * (target - float(score.curve[0])))


def test_a_change_of_the_evidence_alone_comes_first():
    """A quarter of the image whitens in equal steps: p rises to 1 over it and stays."""
    classifier = share_classifier((0, 0, 16, 24), (32, 48))
    sample = white_sample((32, 48))
    sample = replace(sample, image=torch.zeros_like(sample.image))
    image = torch.zeros(3, 32, 48, dtype=torch.uint8)
    image[:, :24, :16] = 255
    explained = counterfactual(image, sample, 0)
    values = CounterfactualTransition(classifier, steps=32 * 48).score(sample, explained).values
    assert values["auc_target"] == pytest.approx(0.25 / 2 + 0.75, abs=1e-3)
    assert values["cout"] == pytest.approx(2 * 0.875 - 1, abs=2e-3)


def test_oracles_agree_with_what_they_see():
    sample, whole = darkened()
    other = planted_classifier(box=(30, 12, 42, 28))  # looks elsewhere: dark before and after
    same_box = planted_classifier(gain=5.0)
    metric = Oracles(planted_classifier(), {"elsewhere": other, "here": same_box})
    values = metric.score(sample, whole).values
    assert values["ota_here"] == values["os_here"] == 1
    assert values["gain_here"] > 0.5
    assert values["gain_elsewhere"] == 0
    sample, nothing = darkened(0.0)
    values = metric.score(sample, nothing).values
    assert values["ota_here"] == 0
    assert values["os_here"] == 1  # bright for both, as before
    scores = ScoreSet.collate([("a", metric.score(*darkened())), ("b", ImageScore(values))])
    final = metric.finalize(scores)
    assert final["ota"].tolist() == [1, 0.5]
    assert list(final) == [column.name for column in metric.columns]


def test_an_oracle_with_the_explained_weights_is_refused_or_skipped():
    classifier, twin = small(), small()
    other = plain(TwoLayers(), SIZE)
    nn.init.normal_(other.network.head.weight)
    with pytest.raises(ValueError, match=r"oracles\.twin has the weights of the explained"):
        Oracles(classifier, {"other": other, "twin": twin})
    metric = Oracles(classifier, {"other": other, "twin": twin}, on_same="skip")
    sample = planted_sample()
    scores = ScoreSet.collate([("a", metric.score(sample, counterfactual(noise(), sample)))])
    final = metric.finalize(scores)
    assert np.isnan(final["ota_twin"]).all()
    assert final["ota"].tolist() == final["ota_other"].tolist()
    with pytest.raises(ValueError, match="the guide of dvce"):
        Oracles(classifier, {"other": other}).exclude(other, "the guide of dvce")


def test_classes_correspond_by_name():
    assert shared_classes(["crane", "crane"], ["crane", "crane"]) == ([0, 1], [0, 1])
    assert shared_classes(["Tench", "crane", "dog"], ["crane", "crane", "dog", "tench"]) == (
        [0, 2],
        [3, 2],
    )
    named = planted_classifier()
    named.class_names = ["left", "right"]
    with pytest.raises(ValueError, match=r"oracles\.a knows none"):
        Oracles(planted_classifier(), {"a": named}).score(*darkened())


def test_an_oracle_of_more_classes_is_asked_among_the_shared_ones():
    class Wider(nn.Module):
        def forward(self, x):
            score = x[:, :, 12:28, 8:20].mean((1, 2, 3))
            return torch.stack([torch.full_like(score, 9.0), 20 * (score - 0.5), 0 * score], 1)

    wider = Classifier(Wider(), SIZE, (0,) * 3, (1,) * 3, class_names=["cat", "bright", "dark"])
    metric = Oracles(planted_classifier(), {"wider": wider})
    assert metric.score(*darkened()).values["ota_wider"] == 1
    assert metric.score(*darkened(0.0)).values["ota_wider"] == 0


def test_neighbours_are_those_of_brute_force():
    metric, sample, image = realism(k=3), planted_sample(), noise(8)
    values = metric.score(sample, counterfactual(image, sample, 0)).values
    vectors = {0: [], 1: []}
    source = squares_as_photos(SIZE, 1.0, "bilinear")
    for entry in source.selected():
        one = source.load(entry)
        pixels = np.round(one.image.numpy() * 255) / 255
        vectors[one.label].append(pixels.mean((1, 2)))
    answer = (image.numpy() / 255).mean((1, 2))

    def third(to, vector):
        return sorted(np.linalg.norm(np.array(vectors[to]) - vector, axis=1))[2]

    # The photo is bright, class 1; the target is 0.
    assert values["knn"] == pytest.approx(third(0, answer) / third(1, answer), abs=1e-4)
    assert values["near"] == pytest.approx(third(0, answer), abs=1e-5)
    photo = (np.round(sample.image.numpy() * 255) / 255).mean((1, 2))
    assert values["knn_photo"] == pytest.approx(third(0, photo) / third(1, photo), abs=1e-4)


def test_a_photo_is_no_neighbour_of_itself():
    def six_colours(size, crop_fraction, interpolation):
        return Squares(size=size, crop_fraction=1.0, index=list(range(6)))

    squares = six_colours(SIZE, 1.0, "bilinear")
    sample = squares.load(squares.selected()[0])
    pixels = (sample.image * 255).round().to(torch.uint8)
    metric = realism(k=1, reference=six_colours)
    found = [
        metric.score(replace(sample, id=name), counterfactual(pixels, sample)).values["near"]
        for name in (sample.id, "another")
    ]
    assert found[0] > 0
    assert found[1] == 0


def test_of_many_photos_some_of_all_classes_are_taken():
    def sorted_by_class(size, crop_fraction, interpolation):
        source = Squares(size=size, crop_fraction=1.0)
        entries = sorted(source.entries(), key=lambda entry: entry.label)
        source.entries = lambda: entries
        return source

    metric = Realism(planted_classifier(), sorted_by_class, mean_colours(), None, most=60)
    found = [len(metric.reference.of_class(index)) for index in (0, 1)]
    assert sum(found) == 60
    assert min(found) > 15
    with pytest.raises(ValueError, match="most"):
        Realism(planted_classifier(), sorted_by_class, mean_colours(), None, most=0)


def test_a_class_without_photos_has_no_number_and_no_reference_is_said(tmp_path):
    sample = planted_sample()
    one = counterfactual(noise(), sample)
    values = realism(k=400).score(sample, one).values
    assert math.isnan(values["knn"])
    nowhere = Realism(
        planted_classifier(),
        lambda **size: FolderPhotos(path=str(tmp_path / "none"), **size),
        mean_colours(),
        None,
    )
    with pytest.raises(ValueError, match=r"metrics\.realism\.reference\.path"):
        nowhere.score(sample, one)


def test_distances_of_sets_know_squares_from_noise():
    metric, source = realism(), squares_as_photos(SIZE, 1.0, "bilinear")
    entries = Squares(size=SIZE, crop_fraction=1.0, index=list(range(1, 480, 20))).selected()
    real, random = [], []
    for i, entry in enumerate(entries):
        sample = source.load(entry)
        target = 1 - int(sample.label or 0)
        pixels = (sample.image * 255).round().to(torch.uint8)
        real.append((sample.id, metric.score(sample, counterfactual(pixels, sample, target))))
        random.append((sample.id, metric.score(sample, counterfactual(noise(i), sample, target))))
    squares, others = (metric.set_values(ScoreSet.collate(scores)) for scores in (real, random))
    assert set(squares) == {column.name for column in metric.set_columns}
    assert squares["n"] == len(entries)
    assert others["frechet"] > 5 * squares["frechet"]
    assert others["kid"] > 5 * abs(squares["kid"])
    assert squares["kid_photos"] == others["kid_photos"]
    assert abs(squares["kid_photos"]) < others["kid"] / 5


def test_pairs_of_counterfactuals_are_those_of_the_slow_loop():
    images = torch.stack([noise(i) for i in range(3)])
    values = Diversity(small(), ["first"]).score("a", images).values
    pairs = [(0, 1), (0, 2), (1, 2)]
    by_hand = [
        np.abs(images[i].numpy() / 255.0 - images[j].numpy() / 255.0).mean() for i, j in pairs
    ]
    assert values["l1"] == pytest.approx(np.mean(by_hand))
    assert values["images"] == 3
    assert values["feature"] > 0
    same = Diversity(small(), ["first"]).score("a", images[:1].expand(2, -1, -1, -1)).values
    assert same["l1"] == same["feature"] == 0


def test_costs_are_the_explanations_own():
    sample, one = darkened()
    values = Cost().score(sample, replace(one, cost={"forward": 7, "denoise": 3})).values
    assert (values["forward"], values["denoise"]) == (7, 3)
    assert math.isnan(values["backward"])


def test_other_sizes_are_refused():
    sample = planted_sample()
    image = noise(size=(20, 24))
    wrong = Explanation(sample.id, 0, torch.zeros(1, 20, 24), counterfactual=image)
    with pytest.raises(ValueError, match="planted: a counterfactual of"):
        Validity(planted_classifier()).score(sample, wrong)


def test_features_are_of_images_at_the_extractors_size():
    sample, image = planted_sample(), noise()
    large = small((80, 96))
    values = Closeness(large, ["first"]).score(sample, counterfactual(image, sample)).values
    pair = torch.stack([(sample.image * 255).round(), image.float()]) / 255
    bigger = interpolate(pair, (80, 96), mode="bilinear", antialias=True, align_corners=False)
    x, y = large.network.first(bigger).double()
    expected = (1 - (x * y).sum(0) / (x.norm(dim=0) * y.norm(dim=0))).mean()
    assert values["feature"] == pytest.approx(float(expected), abs=1e-6)
