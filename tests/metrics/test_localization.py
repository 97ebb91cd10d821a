"""Localisation: boxes from maps, the two threshold rules, reference rows on real boxes."""

import csv
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from analytic import box_map, explanation, white_sample
from noise_images import numbers

from fido.explainers.base import half_of_maximum
from fido.masks.baseline_maps import CENTER, FULL, RANDOM, TRUTH, reference_explanations
from fido.masks.regions import best_iou, clean, pixel_boxes, relative_boxes, tight_box
from fido.metrics.localization import Localization
from fido.metrics.outside_box import OutsideBox
from fido.metrics.score_set import ScoreSet
from fido.records import Sample
from fido.runtime.noise import image_seed

DEV = Path(__file__).resolve().parents[3] / "shared/data/imagenet_val_dev/boxes.csv"
SIZE = (32, 48)


def slow_tight_box(region):
    """The definition, pixel by pixel."""
    points = [
        (x, y) for y in range(region.shape[0]) for x in range(region.shape[1]) if bool(region[y, x])
    ]
    if not points:
        return [0, 0, region.shape[1], region.shape[0]]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1]


@pytest.mark.parametrize("what", [math.nan, math.inf, -math.inf])
def test_a_pixel_that_is_not_finite_takes_no_region_away(what):
    saliency = 0.3 + 0.6 * box_map((8, 8, 24, 24), SIZE)
    region = clean(saliency, half_of_maximum(saliency)) > half_of_maximum(saliency)
    saliency[0, 0, 0] = what
    threshold = half_of_maximum(saliency)
    assert threshold == pytest.approx(0.45)
    assert torch.equal(clean(saliency, threshold) > threshold, region)
    assert torch.equal(explanation(saliency, threshold=threshold).region[0], region)
    assert float(clean(saliency)[0, 0]) == pytest.approx(0.3)  # the smallest that there is
    assert half_of_maximum(torch.full((1, 4, 4), what)) == 0


def slow_iou(a, b):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.01, 1.0])
def test_tight_box_is_that_of_a_loop_over_pixels(rate):
    generator = torch.Generator().manual_seed(3)
    for _ in range(20):
        region = torch.rand(SIZE, generator=generator) < rate
        assert tight_box(region).tolist() == slow_tight_box(region)


def test_relative_boxes_are_tight_boxes_of_thresholded_maps():
    generator = torch.Generator().manual_seed(0)
    alphas = (0.0, 0.3, 0.8, 0.99)
    for shift in (0.0, 0.9):
        values = torch.randn(SIZE, generator=generator).double() - shift
        for alpha, box in zip(alphas, relative_boxes(values, alphas), strict=True):
            assert box.tolist() == slow_tight_box(values >= alpha * values.max())


def test_iou_is_that_of_arithmetic_on_corners():
    generator = torch.Generator().manual_seed(1)
    corners = torch.randint(0, 20, (40, 2, 2), generator=generator).sort(dim=1).values
    boxes = torch.cat([corners[:, 0], corners[:, 1] + 1], 1)
    for box in boxes[:20]:
        expected = max(slow_iou(box.tolist(), other.tolist()) for other in boxes[20:])
        assert float(best_iou(box.unsqueeze(0), boxes[20:])[0]) == pytest.approx(expected)


def test_boxes_are_rounded_to_at_least_a_pixel_inside_the_image():
    boxes = torch.tensor([[1.4, 2.6, 5.5, 7.2], [3.6, 3.6, 4.4, 4.4], [47.6, 31.7, 48.0, 32.0]])
    rounded = pixel_boxes(boxes, *SIZE)
    assert rounded.tolist() == [[1, 3, 6, 7], [4, 4, 5, 5], [47, 31, 48, 32]]


def test_a_perfect_map_has_no_error_under_every_rule():
    metric = Localization(holdout=0.5)
    truth = [[5.0, 4.0, 30.0, 20.0], [40.0, 25.0, 47.0, 31.0]]
    for i in range(12):
        sample = white_sample(SIZE, truth, f"image {i}")
        metric.update(sample, explanation(box_map((5, 4, 30, 20), SIZE), f"image {i}"))
    means = {name: float(value) for name, value in metric.compute().items()}
    assert means["wsl_error"] == 0
    assert means["alpha_error"] == 0
    assert means["iou"] == 1
    assert means["pointing"] == 1
    assert means["mass"] == 1
    # alpha = 0 takes the whole image of a map without negative values, every other alpha the box.
    assert metric.set_values(metric.scores()) == {"alpha": 0.05, "held_out": held(12, 0.5)}


def held(count, share):
    return sum(image_seed(0, f"image {i}", "holdout") < share * 2**63 for i in range(count))


def test_held_out_images_choose_alpha_and_are_not_judged_by_it():
    # The object is at half of the maximum; a peak far away spoils boxes of lower thresholds only
    # on images that are not held out.
    metric = Localization(alphas=(0.2, 0.8), holdout=0.5)
    ids = [f"image {i}" for i in range(12)]
    for image_id in ids:
        saliency = box_map((5, 4, 30, 20), SIZE)
        if metric.alpha.held_out(image_id):
            saliency[0, 30, 45] = 0.5  # only alpha 0.2 sees it, so 0.8 is chosen
        metric.update(white_sample(SIZE, [[5, 4, 30, 20]], image_id), explanation(saliency))
    rows = numbers(metric)
    assert metric.set_values(metric.scores())["alpha"] == 0.8
    for image_id in ids:
        if metric.alpha.held_out(image_id):
            assert math.isnan(rows[image_id]["alpha_error"])
        else:
            assert rows[image_id]["alpha_error"] == 0


def test_the_curve_is_of_held_out_images_and_iou_of_the_others():
    """Agarwal & Nguyen 2020, Fig. S6 (curves) and Figs. S4, S5 (images ranked by IoU)."""
    metric = Localization(alphas=(0.2, 0.8), holdout=0.5)
    for i in range(12):
        image_id = f"image {i}"
        saliency = box_map((5, 4, 30, 20), SIZE)
        if metric.alpha.held_out(image_id):
            saliency[0, 30, 45] = 0.5  # alpha 0.2 is wrong here, and only here
        else:
            saliency[0, 18:20] = 0  # two of sixteen rows less
        metric.update(white_sample(SIZE, [[5, 4, 30, 20]], image_id), explanation(saliency))
    scores = metric.scores()
    assert metric.summary_curve(scores).tolist() == [1, 0]
    for image_id, row in numbers(metric).items():
        if metric.alpha.held_out(image_id):
            assert math.isnan(row["alpha_iou"])
        else:
            assert row["alpha_iou"] == pytest.approx(14 / 16)
    assert Localization(holdout=0).summary_curve(scores) is None


@pytest.mark.parametrize(
    ("saliency", "error", "empty", "pointing"),
    [
        (torch.zeros(1, *SIZE), 1.0, 1.0, 100 / 1536),  # empty: the box is the whole image
        (torch.ones(1, *SIZE), 1.0, 0.0, 100 / 1536),  # constant: every pixel is the maximum
        (torch.full((1, *SIZE), math.nan), 1.0, 1.0, 100 / 1536),  # nothing finite: no evidence
        (torch.full((1, *SIZE), -3.0), 1.0, 1.0, 100 / 1536),
        (
            box_map((10, 10, 20, 20), SIZE).masked_fill(box_map((40, 0, 48, 9)) > 0, math.nan),
            0,
            0,
            1,
        ),
        (
            box_map((10, 10, 20, 20), SIZE).masked_fill(box_map((40, 0, 48, 9)) > 0, math.inf),
            0,
            0,
            1,
        ),
    ],
)
def test_degenerate_maps_have_the_documented_scores(saliency, error, empty, pointing):
    score = Localization().score(white_sample(SIZE, [[10, 10, 20, 20]]), explanation(saliency))
    values = numbers(Localization(), ScoreSet.collate([("white", score)]))["white"]
    assert values["wsl_error"] == error
    assert values["empty"] == empty
    assert values["pointing"] == pytest.approx(pointing)
    assert values["mass"] == pytest.approx(pointing)
    assert all(math.isfinite(v) for v in score.curve)


def test_non_finite_pixels_never_make_a_region():
    saliency = torch.full((1, 4, 4), 0.9)
    saliency[0, 0, 0] = math.nan
    assert (clean(saliency, 0.5) > 0.5).sum() == 15


def test_an_image_without_boxes_has_no_score_and_is_not_dropped():
    metric = Localization()
    metric.update(white_sample(SIZE, None, "bare"), explanation(box_map((1, 1, 9, 9), SIZE)))
    metric.update(white_sample(SIZE, [[1, 1, 9, 9]], "boxed"), explanation(box_map((1, 1, 9, 9))))
    assert math.isnan(numbers(metric)["bare"]["wsl_error"])
    assert float(metric.compute()["wsl_error"]) == 0


def test_pointing_tolerates_a_near_miss_if_asked():
    saliency = torch.zeros(1, *SIZE)
    saliency[0, 8, 8] = 1
    sample = white_sample(SIZE, [[10, 10, 20, 20]])
    assert Localization().score(sample, explanation(saliency)).values["pointing"] == 0
    near = Localization(tolerance=2).score(sample, explanation(saliency))
    assert near.values["pointing"] == 1


def test_outside_share_is_counted_by_hand():
    metric = OutsideBox()
    sample = white_sample(SIZE, [[10, 10, 20, 20], [15, 15, 25, 25]])
    half = metric.score(sample, explanation(box_map((5, 10, 15, 20), SIZE)))
    assert half.values == {"outside": 0.5, "area": 100 / 1536, "empty": 0}
    empty = metric.score(sample, explanation(torch.zeros(1, *SIZE)))
    union = 100 + 100 - 25
    assert empty.values["outside"] == pytest.approx(1 - union / 1536)


def test_reference_rows_are_what_they_say():
    sample = white_sample((224, 224), [[3.2, 4.4, 100.0, 90.0], [0, 0, 5, 5]], "some image")
    (full,) = reference_explanations(FULL, sample)
    assert full.region.all()
    (center,) = reference_explanations(CENTER, sample)
    assert tight_box(center.region[0]).tolist() == [33, 33, 191, 191]
    truth = reference_explanations(TRUTH, sample)
    assert [tight_box(e.region[0]).tolist() for e in truth] == [[3, 4, 100, 90], [0, 0, 5, 5]]
    (noise,), (again,) = (reference_explanations(RANDOM, sample) for _ in range(2))
    assert torch.equal(noise.saliency, again.saliency)
    assert abs(float(noise.saliency.mean()) - 0.5) < 0.01
    assert reference_explanations(TRUTH, white_sample((8, 8))) == []
    with pytest.raises(ValueError, match="Full"):
        reference_explanations("full", sample)


@pytest.mark.skipif(not DEV.is_file(), reason="the 650 development images are not on this machine")
def test_full_and_center_rows_on_real_boxes_agree_with_plain_arithmetic():
    boxes = defaultdict(list)
    with DEV.open(newline="") as lines:
        for row in csv.DictReader(lines):
            corners = [224 * float(row[k]) for k in ("xmin", "ymin", "xmax", "ymax")]
            boxes[row["file"]].append(corners)
    assert len(boxes) == 650
    full, center = Localization(alphas=()), Localization(alphas=())
    outside = {FULL: OutsideBox(), CENTER: OutsideBox()}
    shares = {FULL: 0.0, CENTER: 0.0}
    wrong = {"full": 0, "center": 0}
    for name, corners in boxes.items():
        sample = Sample(name, torch.zeros(3, 224, 224), 0, torch.tensor(corners), 0)
        full.update(sample, reference_explanations(FULL, sample)[0])
        center.update(sample, reference_explanations(CENTER, sample)[0])
        # Half-way cases round to even in torch and in Python alike.
        whole = [[round(c) for c in torch.tensor(box).tolist()] for box in corners]
        wrong["full"] += max(slow_iou([0, 0, 224, 224], box) for box in whole) <= 0.5
        wrong["center"] += max(slow_iou([33, 33, 191, 191], box) for box in whole) <= 0.5
        covered = np.zeros((224, 224), bool)
        for left, top, right, bottom in whole:
            covered[top:bottom, left:right] = True
        shares[FULL] += 1 - covered.mean()
        shares[CENTER] += 1 - covered[33:191, 33:191].mean()
        for row, metric in outside.items():
            metric.update(sample, reference_explanations(row, sample)[0])
    assert float(full.compute()["wsl_error"]) == pytest.approx(wrong["full"] / 650)
    assert float(center.compute()["wsl_error"]) == pytest.approx(wrong["center"] / 650)
    assert wrong == {"full": 343, "center": 268}
    for row, metric in outside.items():
        assert float(metric.compute()["outside"]) == pytest.approx(shares[row] / 650)


def test_reference_rows_equal_the_explainers_of_the_same_name():
    from fido.explainers.baselines import Center, Full, RandomMap

    sample = white_sample((224, 224), image_id="some image")
    for row, explainer in ((FULL, Full()), (CENTER, Center()), (RANDOM, RandomMap())):
        (theirs,) = explainer.explain([sample])
        (ours,) = reference_explanations(row, sample)
        assert torch.equal(ours.saliency, theirs.saliency), row
