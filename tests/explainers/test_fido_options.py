"""FIDO's optional relaxations, draws, scores and objectives on evidence that is known."""

import dataclasses
import itertools
from functools import partial

import pytest
import torch
from planted import BOX, box_region, iou, planted_classifier, planted_sample

from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.leave_one_out import leave_one_out
from fido.masks.levels import levels_of
from fido.masks.objectives import SDR, SSR, Both
from fido.runtime.noise import ImageNoise

GREY = (0.2, 0.2, 0.2)
CLASSIFIER = planted_classifier()


def explainer(objective, infiller=None, mask=None, **settings):
    mask = partial(ConcreteMask, **{"grid": (10, 12), **(mask or {})})
    settings = {"steps": 100, "samples": 4, "learning_rate": 0.1, **settings}
    return Fido(CLASSIFIER, infiller or MeanInfiller(GREY), objective, mask, **settings)


def photo(brightness, name):
    """The planted sample with a dimmer box: a harder image."""
    image = torch.full((3, 40, 48), 0.2)
    left, top, right, bottom = BOX
    image[:, top:bottom, left:right] = brightness
    return dataclasses.replace(planted_sample(image_id=name), image=image)


def shares(sample, explanation):
    """p of the class with the region alone and without it, as shares of the photo's."""
    fill = torch.full_like(sample.image, 0.2)
    kept = torch.where(explanation.region, sample.image, fill)
    rest = torch.where(explanation.region, fill, sample.image)
    p = CLASSIFIER.probabilities(torch.stack([sample.image, kept, rest]))[:, 1]
    return float(p[1] / p[0]), float(p[2] / p[0])


@pytest.mark.parametrize(
    ("objective", "mask"),
    [
        (SSR(0.02), {"temperature": [1.0, 0.1]}),
        (SDR(0.02), {"temperature": 0.5, "antithetic": True}),
        (SSR(0.02), {"unit": "blob", "blob_size": [2, 6]}),
        (Both(0.02), {}),
        (Both(0.02), {"temperature": [1.0, 0.1], "unit": "blob", "blob_size": 4}),
        (SSR(0.005, score="log_probability"), {}),
        (SDR(0.02, score="clipped_log_odds"), {}),
        (SSR(0.02), {"grids": [5, 10, 20]}),
    ],
    ids=lambda value: value.score if hasattr(value, "score") else "-".join(value) or "plain",
)
def test_planted_evidence_is_found(objective, mask):
    (explanation,) = explainer(objective, mask=mask).explain([planted_sample()])
    assert explanation.failure is None
    assert iou(explanation.region, box_region()) > 0.7


def test_both_reports_both_scores_and_twice_the_rows():
    (explanation,) = explainer(Both(0.02)).explain([planted_sample()])
    history = explanation.history
    assert history["score"][-1] > history["score"][0]
    assert history["score_removed"][-1] < history["score_removed"][0]
    assert explanation.cost == {"forward": 800, "backward": 800, "infill": 800}


def test_both_at_the_ends_of_its_balance_draws_the_maps_of_ssr_and_sdr():
    # Saturating, because plain log-odds of this classifier are linear: both ask the same of it.
    # Pairs u, 1 - u make the draws of a map those of its complement.
    mask = {"antithetic": True}
    maps = [
        explainer(objective, mask=mask, steps=15).explain([planted_sample()])[0].saliency
        for objective in (
            SSR(0.005, score="log_probability"),
            Both(0.005, score="log_probability", balance=0),
            SDR(0.005, score="log_probability"),
            Both(0.005, score="log_probability", balance=1),
        )
    ]
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(maps[3], maps[2], rtol=0, atol=1e-3)
    assert (maps[0] - maps[2]).abs().max() > 0.01


@pytest.mark.parametrize("objective", [SSR("auto"), SDR("auto"), Both("auto")])
def test_auto_finds_the_smallest_region_that_does_what_is_asked(objective):
    samples = [photo(0.9, "easy"), photo(0.7, "middle"), photo(0.6, "hard")]
    fido = explainer(objective, rows_per_pass=64, steps=120, learning_rate=0.15)
    together = fido.explain(samples)
    for sample, explanation in zip(samples, together, strict=True):
        kept, removed = shares(sample, explanation)
        if objective.keep_share:
            assert kept >= 0.9
        if objective.removed_share:
            assert removed <= 0.1
        if not objective.removed_share:  # not more than asked for, up to a few cells of 16 pixels
            assert kept < 0.99
        assert iou(explanation.region | box_region(), box_region()) > 0.95
        sparsity = explanation.history["sparsity"]
        assert len(sparsity) == 120
        assert float(sparsity.min()) > 0
    areas = [float(e.region.float().mean()) for e in together]
    assert (areas == sorted(areas)) == (objective.keep_share is not None)
    (alone,) = fido.explain(samples[1:2])
    torch.testing.assert_close(alone.saliency, together[1].saliency, rtol=0, atol=1e-5)
    torch.testing.assert_close(alone.history["sparsity"], together[1].history["sparsity"])


def test_auto_counts_its_looks_at_the_region():
    (explanation,) = explainer(SSR("auto"), RandomInfiller(), steps=8).explain([planted_sample()])
    # 8 steps of 4 masks, looks at steps 0 and 4 and at the end, and the photo itself.
    assert explanation.cost == {"forward": 36, "backward": 32, "infill": 35}
    fido = explainer(SSR("auto"), RandomInfiller(), steps=8, level="auto")
    (explanation,) = fido.explain([planted_sample()])
    more = len(levels_of(explanation.saliency)) + 1  # and with everything infilled
    assert explanation.cost == {"forward": 36 + more, "backward": 32, "infill": 35 + more}


def test_auto_of_a_class_that_no_infill_removes_gives_up_within_its_range():
    """The box stays as bright as it was: no region meets the constraint."""
    fido = explainer(SDR("auto"), MeanInfiller((0.9, 0.9, 0.9)), steps=40)
    (explanation,) = fido.explain([planted_sample()])
    assert explanation.failure is None
    assert float(explanation.history["sparsity"].min()) > 1e-7


def test_leave_one_out_is_the_gradient_of_the_expected_score():
    """Against the sum over all masks of a 2 x 2 grid, with scores that are no sum over cells."""
    mask = ConcreteMask(1, (4, 4), grid=2, unit="cell")
    with torch.no_grad():
        mask.drop_logits.copy_(torch.tensor([[0.5, -1.0], [0.2, 1.5]]).view(1, 1, 2, 2))

    def score(keep):  # (n, 1, 4, 4) -> (n,)
        a, b, c, d = (keep[:, 0, y, x] for y in (0, 3) for x in (0, 3))
        return 3 * a * b - 2 * c + d * (1 - a)

    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).view(16, 1, 2, 2)
    p = torch.sigmoid(-mask.drop_logits)
    chance = (every * p + (1 - every) * (1 - p)).prod(3).prod(2).flatten()
    expected = chance @ score(every.repeat_interleave(2, 2).repeat_interleave(2, 3))
    (exact,) = torch.autograd.grad(expected, mask.drop_logits)

    keep, log_prob = mask.draw(40_000, ImageNoise(0, ["a"], "mask"))
    zeros = leave_one_out(score(keep).view(10_000, 4), log_prob)
    (estimate,) = torch.autograd.grad(zeros.mean(), mask.drop_logits)
    assert zeros.abs().max() == 0
    torch.testing.assert_close(estimate, exact, atol=0.02, rtol=0)


def test_drawn_masks_are_the_rounded_samples():
    for unit in ("cell", "pixel"):
        mask = ConcreteMask(2, (8, 6), grid=(4, 3), unit=unit)
        relaxed = mask.sample(3, ImageNoise(0, ["a", "b"], "mask"))
        drawn, log_prob = mask.draw(3, ImageNoise(0, ["a", "b"], "mask"))
        assert torch.equal(drawn, mask.binarize(relaxed))
        assert log_prob.shape == (6,)


@pytest.mark.parametrize(
    ("settings", "mask", "message"),
    [
        ({"samples": 1}, {}, "samples"),
        ({}, {"unit": "blob"}, "independently"),
        ({}, {"antithetic": True}, "independently"),
        ({"gradient": "none"}, {}, "gradient"),
    ],
)
def test_leave_one_out_says_what_it_needs(settings, mask, message):
    with pytest.raises(ValueError, match=message):
        explainer(SSR(0.02), mask=mask, **{"gradient": "leave_one_out", **settings}).explain(
            [planted_sample()]
        )


def test_smoothness_removes_a_speck_and_leaves_a_block():
    """A speck costs more than its evidence is worth by its rim, a block of the same evidence a
    pixel does not."""
    cells = torch.zeros(1, 1, 8, 8)
    cells[..., 1:5, 1:5] = 1
    speck = cells.clone()
    speck[..., 7, 7] = 1
    plain, smooth = SSR(1.0, warmup_steps=0), SSR(1.0, warmup_steps=0, smoothness=0.5)
    none = torch.zeros(1)

    def price(objective, keep):
        return float(objective.loss(none, keep, 0))

    assert price(plain, speck) - price(plain, cells) == 1
    assert price(smooth, cells) == 16 + 0.5 * 16  # a rim of 16 sides
    assert price(smooth, speck) - price(smooth, cells) == 1 + 0.5 * 2  # in the corner
