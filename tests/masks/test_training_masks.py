import math

import pytest
import torch

from fido.masks.distributions.bernoulli import (
    BernoulliCells,
    BernoulliGrid,
    BernoulliPixels,
    BernoulliSuperpixels,
    SmoothField,
)
from fido.masks.distributions.mixture import Mixture
from fido.masks.distributions.shapes import ObjectBox, Rectangles, Strokes
from fido.records import Sample

RANGE = (0.02, 0.98)
DISTRIBUTIONS = {
    "pixels": BernoulliPixels(RANGE),
    "cells": BernoulliCells(keep=RANGE),
    "grid": BernoulliGrid(8, RANGE),
    "field": SmoothField(),
    "rectangles": Rectangles(),
    "strokes": Strokes(),
}
DISTRIBUTIONS["mixture"] = Mixture(dict(DISTRIBUTIONS), dict.fromkeys(DISTRIBUTIONS, 1.0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
@pytest.mark.parametrize("size", [(48, 48), (33, 50)])
def test_masks_are_binary_and_a_function_of_the_generator(distribution, size):
    keep = distribution.sample(5, size, generator(1))
    assert keep.shape == (5, 1, *size)
    assert keep.dtype == torch.bool
    torch.manual_seed(7)  # the global stream must not matter
    assert torch.equal(keep, distribution.sample(5, size, generator(1)))
    assert not torch.equal(keep, distribution.sample(5, size, generator(2)))


@pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
def test_rows_differ(distribution):
    keep = distribution.sample(6, (64, 64), generator())
    assert all(not torch.equal(keep[0], row) for row in keep[1:])


@pytest.mark.parametrize(
    "distribution",
    [BernoulliPixels(RANGE), BernoulliCells((2, 4), RANGE), BernoulliGrid(32, RANGE)],
)
def test_keep_rates_cover_the_whole_range(distribution):
    rates = distribution.sample(600, (64, 64), generator()).float().mean((1, 2, 3))
    assert rates.min() < 0.06
    assert rates.max() > 0.94
    # Uniform on [.02, .98]: the deciles are evenly spread.
    for level in (0.25, 0.5, 0.75):
        assert (rates < level).float().mean().item() == pytest.approx(
            (level - 0.02) / 0.96, abs=0.07
        )


def test_a_fixed_rate_is_met():
    keep = BernoulliPixels(0.3).sample(4, (100, 100), generator())
    assert keep.float().mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 40000))


def test_cells_are_constant_with_a_random_phase():
    side, phases = 8, set()
    for row in BernoulliCells(sides=(side,)).sample(40, (64, 64), generator())[:, 0]:
        changes = (row[1:] != row[:-1]).any(1).nonzero().squeeze(1) + 1  # rows where cells begin
        assert len(changes) >= 4
        assert len({int(c) % side for c in changes}) == 1
        phases.add(int(changes[0]) % side)
    assert len(phases) > 4


def test_a_smooth_field_is_what_the_formula_says():
    # Without gain the map is flat: independent pixels at the rate.
    flat = SmoothField(gain=0.0, keep=0.4, sides=(1,)).sample(8, (64, 64), generator())
    assert flat.float().mean().item() == pytest.approx(0.4, abs=0.02)
    neighbours = (flat[..., 1:] == flat[..., :-1]).float().mean().item()
    assert neighbours == pytest.approx(0.4**2 + 0.6**2, abs=0.02)
    # With much gain it is nearly binary and smooth: neighbours agree.
    bent = SmoothField(knots=(32,), gain=200.0, keep=0.5, sides=(1,))
    keep = bent.sample(8, (64, 64), generator())
    assert (keep[..., 1:] == keep[..., :-1]).float().mean() > 0.9


def test_rectangles_have_the_sides_they_should_and_can_be_inverted():
    distribution = Rectangles(most=1, shortest=0.25, longest=0.5, outside=0.0)
    for row in ~distribution.sample(30, (64, 96), generator())[:, 0]:
        height, width = row.any(1).sum(), row.any(0).sum()
        assert row.sum() == height * width
        assert 15 <= height <= 33
        assert 15 <= width <= 33
    inverted = Rectangles(most=1, shortest=0.25, longest=0.5, outside=1.0)
    assert torch.equal(
        ~distribution.sample(5, (64, 64), generator(3)), inverted.sample(5, (64, 64), generator(3))
    )


def test_strokes_are_thick():
    distribution = Strokes(most=6, thinnest=0.1, thickest=0.1)
    holes = (~distribution.sample(20, (64, 64), generator())).float()
    assert holes.mean((1, 2, 3)).min() > 0
    # A stroke is 6.4 px wide, so that taking a pixel off all around leaves something of it.
    eroded = -torch.nn.functional.max_pool2d(-holes, 3, 1, 1)
    assert (eroded.sum((1, 2, 3)) > 0).all()


def test_a_mixture_has_its_weights():
    distributions = {"all": BernoulliPixels(1.0), "none": BernoulliPixels(0.0)}
    mixture = Mixture(distributions, {"all": 3.0, "none": 1.0})
    whole = mixture.sample(2000, (2, 2), generator()).float().mean((1, 2, 3))
    assert set(whole.tolist()) == {0.0, 1.0}
    assert whole.mean().item() == pytest.approx(0.75, abs=0.04)


def test_wrong_arguments_are_refused():
    for wrong in (1.5, (0.9, 0.1), (0.1, 0.2, 0.3), (-0.1, 0.5)):
        with pytest.raises(ValueError, match="keep rate"):
            BernoulliPixels(wrong)
    with pytest.raises(ValueError, match="sides"):
        BernoulliCells(sides=())
    with pytest.raises(ValueError, match="weight"):
        Mixture({"pixels": BernoulliPixels()}, {"cells": 1.0})


def test_masks_that_depend_on_a_photo_ask_for_it():
    with pytest.raises(ValueError, match="depend on the photo"):
        BernoulliSuperpixels().sample(1, (8, 8), generator())
    with pytest.raises(ValueError, match="depend on the photo"):
        ObjectBox().sample(1, (8, 8), generator())
    mixture = Mixture({"object": ObjectBox()}, {"object": 1.0})
    with pytest.raises(ValueError, match="object has no mask for this photo"):
        mixture.sample(1, (8, 8), generator(), Sample("bare", torch.zeros(3, 8, 8)))


def test_a_rate_and_an_interval_of_no_width_are_the_same_distribution():
    one = BernoulliPixels(0.3).sample(20, (32, 32), generator()).float().mean()
    other = BernoulliPixels((0.3, 0.3)).sample(20, (32, 32), generator()).float().mean()
    assert one.item() == pytest.approx(other.item(), abs=0.02)
