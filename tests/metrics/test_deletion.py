"""Deletion, insertion and removal on classifiers whose areas are known."""

import math

import numpy as np
import pytest
import torch
from analytic import box_map, explanation, share_classifier, white_sample
from noise_images import numbers

from fido.infillers.base import Infiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.metrics.deletion import Deletion, Insertion
from fido.metrics.functional.ranking import pixel_ranks, step_counts, tied_share
from fido.metrics.removal_curve import RemovalCurve, pixels_needed, suppression

SIZE = (32, 48)
BOX = (8, 8, 24, 24)  # 256 of 1536 pixels
PIXELS, INSIDE = 32 * 48, 256
BLACK = MeanInfiller((0.0, 0.0, 0.0))


def ramp(best_first):
    """A map without ties that puts the box's pixels first, or last."""
    order = torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    return order + (2.0 if best_first else -2.0) * box_map(BOX, SIZE)


@pytest.mark.parametrize("best_first", [True, False])
@pytest.mark.parametrize("step", [16, 100])
def test_areas_are_the_analytic_ones(best_first, step):
    # p falls linearly from 1 to 0 over the 256 pixels of the box and is flat elsewhere. Steps of
    # 16 hit the box's end; trapezoids over steps of 100 do not.
    classifier = share_classifier(BOX, SIZE)
    deletion = Deletion(classifier, BLACK, step).score(
        white_sample(SIZE), explanation(ramp(best_first))
    )
    insertion = Insertion(classifier, BLACK, step).score(
        white_sample(SIZE), explanation(ramp(best_first))
    )
    area = INSIDE / PIXELS / 2
    tolerance = 1e-6 if step == 16 else step / PIXELS / 4
    assert deletion.values["auc"] == pytest.approx(area if best_first else 1 - area, abs=tolerance)
    assert insertion.values["auc"] == pytest.approx(1 - area if best_first else area, abs=tolerance)
    assert deletion.values["tied"] == 0
    counts = torch.tensor(step_counts(PIXELS, step)).double()
    inside = (counts if best_first else counts - (PIXELS - INSIDE)).clamp(0, INSIDE)
    assert torch.allclose(deletion.curve.double(), 1 - inside / INSIDE, atol=1e-6)
    assert torch.allclose(insertion.curve.double(), inside / INSIDE, atol=1e-6)


def test_pixels_to_a_suppression_are_exact():
    # log-odds = 10 * share of the box that is white: suppression is linear in the box's pixels.
    classifier = share_classifier(BOX, SIZE, "log-odds")
    metric = RemovalCurve(classifier, BLACK, levels=(0.1, 0.4, 1.0), pixels_per_step=32)
    metric.update(white_sample(SIZE, image_id="best"), explanation(ramp(True)))
    metric.update(white_sample(SIZE, image_id="worst"), explanation(ramp(False)))
    rows = numbers(metric)
    for level in (0.1, 0.4, 1.0):
        name = f"pixels_{round(100 * level)}"
        assert rows["best"][name] == pytest.approx(level * INSIDE, rel=1e-5)
        assert rows["worst"][name] == pytest.approx(PIXELS - INSIDE + level * INSIDE, rel=1e-5)


def test_infilling_that_does_not_lower_the_log_odds_has_no_suppression():
    metric = RemovalCurve(share_classifier(BOX, SIZE, "log-odds"), MeanInfiller((1.0, 1.0, 1.0)))
    metric.update(white_sample(SIZE), explanation(ramp(True)))
    assert math.isnan(numbers(metric)["white"]["pixels_10"])
    assert math.isnan(float(metric.compute()["pixels_10"]))
    assert metric.summary_curve(metric.scores()) is None


def test_a_fall_of_next_to_nothing_has_no_suppression():
    nothing, something = suppression(np.array([[1.0, -2.0, 0.95], [1.0, 0.5, 0.5]]))
    assert np.isnan(nothing).all()
    assert something.tolist() == [0, 1, 1]


def test_suppression_may_overshoot_and_is_read_off_at_the_first_crossing():
    share = suppression(np.array([[4.0, 1.0, 3.0, -1.0, 0.0], [1.0, 1.0, 1.0, 1.0, 1.0]]))
    assert share[0].tolist() == [0, 0.75, 0.25, 1.25, 1.0]
    for level, pixels in ((0.5, 20 / 3), (0.8, 20 + 10 * 0.55), (0, 0)):
        reached, never = pixels_needed(share, (0, 10, 20, 30, 40), level)
        assert reached == pytest.approx(pixels)
        assert math.isnan(never)


def test_ties_are_broken_by_seed_and_id_and_reported():
    constant = torch.zeros(1, *SIZE)
    assert tied_share(constant) == 1
    two = box_map(BOX, SIZE)
    two[0, 0, 0] = 0.5
    assert tied_share(two) == pytest.approx(1 - 1 / PIXELS)
    first, again = pixel_ranks(constant, "a"), pixel_ranks(constant, "a")
    assert torch.equal(first, again)
    assert sorted(first.flatten().tolist()) == list(range(PIXELS))
    assert not torch.equal(first, pixel_ranks(constant, "b"))
    assert not torch.equal(first, pixel_ranks(constant, "a", seed=1))
    # No order of memory is left in it.
    place = torch.arange(PIXELS).double()
    assert abs(float(torch.corrcoef(torch.stack([first.flatten().double(), place]))[0, 1])) < 0.1
    ranks = pixel_ranks(box_map(BOX, SIZE), "a")
    assert int(ranks[8:24, 8:24].max()) == INSIDE - 1


def test_non_finite_pixels_come_last():
    saliency = ramp(True)
    saliency[0, 10, 10], saliency[0, 11, 11] = math.nan, math.inf
    ranks = pixel_ranks(saliency, "a")
    assert {int(ranks[10, 10]), int(ranks[11, 11])} == {PIXELS - 1, PIXELS - 2}
    classifier = share_classifier(BOX, SIZE)
    nothing = explanation(torch.full((1, *SIZE), math.nan))
    constant = explanation(torch.zeros(1, *SIZE))
    metric = Deletion(classifier, BLACK, 16)
    both = [metric.score(white_sample(SIZE), e).values for e in (nothing, constant)]
    assert both[0] == both[1]


def test_random_orders_have_an_area_of_one_half_on_average():
    metric = Deletion(share_classifier(BOX, SIZE), BLACK, 64)
    for i in range(30):
        metric.update(
            white_sample(SIZE, image_id=f"{i}"), explanation(torch.zeros(1, *SIZE), f"{i}")
        )
    assert float(metric.compute()["auc"]) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("infiller", [BLACK, RandomInfiller()])
def test_scores_do_not_depend_on_the_batch(infiller):
    classifier = share_classifier(BOX, SIZE)
    scores = [
        Deletion(classifier, infiller, 100, rows_per_pass=size).score(
            white_sample(SIZE), explanation(ramp(True))
        )
        for size in (1, 5, 64)
    ]
    for score in scores[1:]:
        assert torch.allclose(score.curve, scores[0].curve, atol=1e-6)


def test_the_infiller_sees_the_dropped_pixels_as_dropped():
    seen = []

    class Spy(Infiller):
        def infill(self, image, keep, noise=None):
            seen.append(keep)
            return torch.zeros_like(image).expand(len(keep), -1, -1, -1)

    Deletion(share_classifier(BOX, SIZE), Spy(), 512).score(
        white_sample(SIZE), explanation(ramp(True))
    )
    assert [float(keep.sum()) for batch in seen for keep in batch] == [1536, 1024, 512, 0]


def test_a_map_of_another_size_is_refused():
    metric = Deletion(share_classifier(BOX, SIZE), BLACK)
    with pytest.raises(ValueError, match="32, 48"):
        metric.score(white_sample((16, 16)), explanation(torch.zeros(1, 16, 16)))
    with pytest.raises(ValueError, match="pixels_per_step"):
        Deletion(share_classifier(BOX, SIZE), BLACK, 0)
