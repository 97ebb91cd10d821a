"""The saliency metric against its formula and against cross-entropy."""

import math
from pathlib import Path

import pytest
import torch
from analytic import box_map, explanation, share_classifier, white_sample
from noise_images import numbers
from torch import nn
from torch.nn import functional

from fido.classifiers.base import Classifier
from fido.data.boxes import BoxedPhotos
from fido.masks.baseline_maps import CENTER, FULL, reference_explanations
from fido.metrics.saliency_metric import SaliencyMetric, crop_resize, saliency_metric
from fido.records import Sample

DEV = Path(__file__).resolve().parents[3] / "shared/data/imagenet_val_dev"
SIZE = (32, 48)
BOX = (8, 8, 24, 24)


def half_white():
    """White on the left half; p = share of white in the whole picture."""
    image = torch.zeros(3, *SIZE)
    image[:, :, :24] = 1
    return Sample("half", image, 0, None, 0)


@pytest.mark.slow
@pytest.mark.skipif(not DEV.is_dir(), reason="the 650 development images are not on this machine")
def test_full_and_center_rows_on_real_images_agree_with_plain_arithmetic(lite0):
    source = BoxedPhotos(
        str(DEV), size=(224, 224), crop_fraction=1.0, interpolation="bilinear", resize="squash"
    )
    metric = SaliencyMetric(lite0, alphas=())
    sums = torch.zeros(4, dtype=torch.float64)
    with torch.no_grad():
        for entry in source.selected():
            sample = source.load(entry)
            for at, row in enumerate((FULL, CENTER)):
                (one,) = reference_explanations(row, sample)
                sums[at] += metric.score(sample, one).values["sm"]
            center = functional.interpolate(
                sample.image[None, :, 33:191, 33:191], (224, 224), mode="bicubic"
            ).clamp(0, 1)
            logits = lite0(torch.cat([sample.image[None], center]))
            entropy = functional.cross_entropy(
                logits.double(), torch.tensor([sample.label] * 2), reduction="none"
            )
            sums[2] += entropy[0]
            sums[3] += math.log((191 - 33) ** 2 / 224**2) + entropy[1]
    full, center, plain_full, plain_center = (sums / 650).tolist()
    assert full == pytest.approx(plain_full, abs=1e-4)
    assert center == pytest.approx(plain_center, abs=1e-4)


def test_formula_and_floor():
    area = torch.tensor([1.0, 0.5, 0.05, 0.01])
    log_prob = torch.tensor([0.0, math.log(0.5), 0.0, math.log(0.1)])
    expected = [0.0, 0.0, math.log(0.05), math.log(0.05) + math.log(10)]
    assert saliency_metric(area, log_prob).tolist() == pytest.approx(expected, abs=1e-6)


def test_a_box_on_what_counts_scores_its_log_area():
    metric = SaliencyMetric(share_classifier((0, 0, 48, 32), SIZE))
    sample = half_white()
    good = metric.score(sample, explanation(box_map((0, 0, 12, 32), SIZE), "half"))
    assert good.values["sm"] == pytest.approx(math.log(0.25), abs=1e-5)
    assert good.values["probability"] == pytest.approx(1, abs=1e-5)
    assert good.values["area"] == 0.25
    whole = metric.score(sample, explanation(torch.ones(1, *SIZE), "half"))
    assert whole.values["sm"] == pytest.approx(-math.log(0.5), abs=1e-5)
    empty = metric.score(sample, explanation(torch.zeros(1, *SIZE), "half"))
    assert empty.values == whole.values


def test_full_map_scores_mean_cross_entropy():
    torch.manual_seed(0)
    network = nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(27, 5))
    classifier = Classifier(network, SIZE)
    metric = SaliencyMetric(classifier)
    images, labels = torch.rand(9, 3, *SIZE), torch.arange(9) % 5
    for i in range(9):
        sample = Sample(f"{i}", images[i], int(labels[i]), None, 0)
        metric.update(sample, reference_explanations(FULL, sample)[0])
    expected = nn.functional.cross_entropy(classifier(images), labels)
    assert float(metric.compute()["sm"]) == pytest.approx(float(expected), abs=1e-6)


def test_the_best_alpha_is_that_of_the_held_out_images():
    # The white half has a saliency of 0.6, a black patch of 1: only low alphas see the white.
    metric = SaliencyMetric(
        share_classifier((0, 0, 48, 32), SIZE), alphas=(0.1, 0.5, 0.9), holdout=0.5
    )
    saliency = 0.6 * box_map((0, 0, 24, 32), SIZE)
    saliency[0, 2:10, 36:44] = 1
    for i in range(10):
        sample = half_white()
        named = Sample(f"{i}", sample.image, 0, None, 0)
        metric.update(named, explanation(saliency, f"{i}"))
    curve = metric.summary_curve(metric.scores())
    best = int(curve.argmin())
    set_values = metric.set_values(metric.scores())
    assert set_values["alpha"] == (0.1, 0.5, 0.9)[best]
    rows = numbers(metric)
    held = [i for i in rows if metric.alpha.held_out(i)]
    assert set_values["held_out"] == len(held)
    assert 0 < len(held) < 10
    for image_id, row in rows.items():
        if image_id in held:
            assert math.isnan(row["sm_alpha"])
        else:
            assert row["sm_alpha"] == pytest.approx(float(curve[best]))


def test_without_alphas_there_is_one_crop_and_no_best_alpha():
    seen = []
    classifier = share_classifier(BOX, SIZE)
    classifier.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    metric = SaliencyMetric(classifier, alphas=())
    metric.update(white_sample(SIZE), explanation(box_map(BOX, SIZE)))
    assert seen == [1]
    assert math.isnan(float(metric.compute()["sm_alpha"]))
    assert math.isfinite(float(metric.compute()["sm"]))


def test_equal_boxes_are_looked_at_once():
    seen = []
    classifier = share_classifier(BOX, SIZE)
    classifier.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    SaliencyMetric(classifier).score(white_sample(SIZE), explanation(box_map(BOX, SIZE)))
    assert sum(seen) == 2  # the whole image at alpha 0, the box at all others


def test_label_or_explained_class():
    sample = Sample("x", torch.ones(3, *SIZE), None, None, 1)
    one = explanation(box_map(BOX, SIZE), "x", target=1)
    classifier = share_classifier(BOX, SIZE)
    assert math.isnan(SaliencyMetric(classifier).score(sample, one).values["sm"])
    explained = SaliencyMetric(classifier, target="explained").score(sample, one)
    assert explained.values["probability"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="label or explained"):
        SaliencyMetric(classifier, target="best")


def test_a_crop_is_stretched_over_the_image():
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0))
    whole = crop_resize(image, torch.tensor([0, 0, 48, 32]))
    assert torch.equal(whole, image)
    pixel = crop_resize(image, torch.tensor([7, 5, 8, 6]))
    assert torch.allclose(pixel, image[:, 5:6, 7:8].expand(3, *SIZE))
    corner = crop_resize(image, torch.tensor([0, 0, 24, 16]), "bilinear")
    assert torch.allclose(corner[:, 0, 0], image[:, 0, 0])
