import math

import pytest
import torch

from fido.masks.hole_masks import (
    BernoulliCells,
    BernoulliPixels,
    Mixture,
    Rectangles,
    SmoothField,
    Strokes,
)

LAWS = {
    "pixels": BernoulliPixels(),
    "cells": BernoulliCells(),
    "field": SmoothField(),
    "rectangles": Rectangles(),
    "strokes": Strokes(),
}
LAWS["mixture"] = Mixture(dict(LAWS), dict.fromkeys(LAWS, 1.0))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
@pytest.mark.parametrize("size", [(48, 48), (33, 50)])
def test_masks_are_binary_and_a_function_of_the_generator(law, size):
    keep = law.sample(5, *size, generator(1))
    assert keep.shape == (5, 1, *size)
    assert keep.dtype == torch.float32
    assert set(keep.unique().tolist()) <= {0.0, 1.0}
    torch.manual_seed(7)  # the global stream must not matter
    assert torch.equal(keep, law.sample(5, *size, generator(1)))
    assert not torch.equal(keep, law.sample(5, *size, generator(2)))


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_rows_differ(law):
    keep = law.sample(6, 64, 64, generator())
    assert all(not torch.equal(keep[0], row) for row in keep[1:])


@pytest.mark.parametrize("law", [BernoulliPixels(), BernoulliCells(sides=(2, 4))])
def test_keep_rates_cover_the_whole_range(law):
    rates = law.sample(600, 64, 64, generator()).mean((1, 2, 3))
    assert rates.min() < 0.06
    assert rates.max() > 0.94
    # Uniform on [.02, .98]: the deciles are evenly spread.
    for level in (0.25, 0.5, 0.75):
        assert (rates < level).float().mean().item() == pytest.approx(
            (level - 0.02) / 0.96, abs=0.07
        )


def test_a_fixed_rate_is_met():
    keep = BernoulliPixels(0.3, 0.3).sample(4, 100, 100, generator())
    assert keep.mean().item() == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 40000))


def test_cells_are_constant_with_a_random_phase():
    side, phases = 8, set()
    for row in BernoulliCells(sides=(side,), low=0.5, high=0.5).sample(40, 64, 64, generator())[
        :, 0
    ]:
        changes = (row[1:] != row[:-1]).any(1).nonzero().squeeze(1) + 1  # rows where cells begin
        assert len(changes) >= 4
        assert len({int(c) % side for c in changes}) == 1
        phases.add(int(changes[0]) % side)
    assert len(phases) > 4


def test_a_smooth_field_is_what_the_formula_says():
    # Without gain the map is flat: independent pixels at the rate.
    flat = SmoothField(gain=0.0, low=0.4, high=0.4, sides=(1,)).sample(8, 64, 64, generator())
    assert flat.mean().item() == pytest.approx(0.4, abs=0.02)
    neighbours = (flat[..., 1:] == flat[..., :-1]).float().mean().item()
    assert neighbours == pytest.approx(0.4**2 + 0.6**2, abs=0.02)
    # With much gain it is nearly binary and smooth: neighbours agree.
    bent = SmoothField(knots=(32,), gain=200.0, low=0.5, high=0.5, sides=(1,))
    keep = bent.sample(8, 64, 64, generator())
    assert (keep[..., 1:] == keep[..., :-1]).float().mean() > 0.9


def test_rectangles_have_the_sides_they_should_and_can_be_inverted():
    law = Rectangles(most=1, shortest=0.25, longest=0.5, outside=0.0)
    for row in 1 - law.sample(30, 64, 96, generator())[:, 0]:
        height, width = row.any(1).sum(), row.any(0).sum()
        assert row.sum() == height * width
        assert 15 <= height <= 33
        assert 15 <= width <= 33
    inverted = Rectangles(most=1, shortest=0.25, longest=0.5, outside=1.0)
    assert torch.equal(
        1 - law.sample(5, 64, 64, generator(3)), inverted.sample(5, 64, 64, generator(3))
    )


def test_strokes_are_thick():
    law = Strokes(most=6, thinnest=0.1, thickest=0.1)
    holes = 1 - law.sample(20, 64, 64, generator())
    assert holes.mean((1, 2, 3)).min() > 0
    # A stroke is 6.4 px wide, so that taking a pixel off all around leaves something of it.
    eroded = -torch.nn.functional.max_pool2d(-holes, 3, 1, 1)
    assert (eroded.sum((1, 2, 3)) > 0).all()


def test_a_mixture_has_its_weights():
    laws = {"all": BernoulliPixels(1.0, 1.0), "none": BernoulliPixels(0.0, 0.0)}
    mixture = Mixture(laws, {"all": 3.0, "none": 1.0})
    whole = mixture.sample(2000, 2, 2, generator()).mean((1, 2, 3))
    assert set(whole.tolist()) == {0.0, 1.0}
    assert whole.mean().item() == pytest.approx(0.75, abs=0.04)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="keep rates"):
        BernoulliPixels(0.9, 0.1)
    with pytest.raises(ValueError, match="sides"):
        BernoulliCells(sides=())
    with pytest.raises(ValueError, match="weight"):
        Mixture({"pixels": BernoulliPixels()}, {"cells": 1.0})
