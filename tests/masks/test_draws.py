"""Blobs, pairs, schedules and grids of the learned mask."""

import math

import pytest
import torch
import torch.nn.functional as F

from fido.masks.concrete import ConcreteMask, binarize
from fido.masks.draws import blob_uniform
from fido.runtime.noise import ImageNoise


def noise(*ids):
    return ImageNoise(0, ids or ["a"], "mask")


@pytest.mark.parametrize("sizes", [3.0, [2, 9]])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_blobs_keep_every_pixel_with_its_probability(sizes, temperature):
    mask = ConcreteMask(1, (10, 12), 3, temperature, unit="blob", blob_size=sizes)
    with torch.no_grad():
        mask.drop_logits.copy_(torch.linspace(-3, 3, 9).view(1, 1, 3, 3))
        share = binarize(mask.sample(8000, noise())).mean(0, keepdim=True)
    # Five standard deviations of a share of 8,000 draws; the border is part of it.
    assert float((share - mask.final_keep_prob()).abs().max()) < 5 * math.sqrt(0.25 / 8000)


def test_correlation_of_blobs_falls_to_1_over_e_at_their_size():
    u = blob_uniform(4000, (4, 24), [6.0], noise()).double()
    x = torch.special.ndtri(u)[:, 0, 1]
    assert float(x.std()) == pytest.approx(1, abs=0.02)
    assert float((x[:, 2] * x[:, 8]).mean()) == pytest.approx(math.exp(-1), abs=0.06)
    assert float((x[:, 2] * x[:, 22]).mean()) == pytest.approx(0, abs=0.06)


def test_blobs_of_an_image_do_not_depend_on_its_batch():
    alone = blob_uniform(5, (9, 8), [2, 4], noise("b"))
    together = blob_uniform(5, (9, 8), [2, 4], noise("a", "b", "c"))
    assert torch.equal(together.view(3, 5, 1, 9, 8)[1], alone)


@pytest.mark.parametrize("unit", ["pixel", "cell", "blob"])
def test_antithetic_masks_of_even_odds_are_complements(unit):
    mask = ConcreteMask(2, (12, 12), 4, unit=unit, antithetic=True)
    drawn = mask.sample(6, noise("a", "b")).view(2, 6, 12, 12)
    torch.testing.assert_close(drawn[:, :3] + drawn[:, 3:], torch.ones(2, 3, 12, 12))
    assert mask.sample(5, noise("a", "b")).shape == (10, 1, 12, 12)


def test_temperature_falls_geometrically_and_the_map_does_not_know_of_it():
    mask = ConcreteMask(1, (8, 8), 2, temperature=[1.0, 0.01], antithetic=False)
    assert [mask.temperature(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.1, 0.01])
    assert ConcreteMask(1, (8, 8), 2, temperature=0.3).temperature(0.7) == 0.3
    cold = ConcreteMask(1, (8, 8), 2, temperature=0.1)
    assert torch.equal(mask.sample(3, noise(), 0.5), cold.sample(3, noise()))
    assert not torch.equal(mask.sample(3, noise(), 0.0), cold.sample(3, noise()))
    assert torch.equal(mask.final_keep_prob(), cold.final_keep_prob())


def test_grids_add_finer_cells_when_their_turn_comes():
    mask = ConcreteMask(1, (16, 16), grids=[2, 4, 8], unit="cell")
    with torch.no_grad():
        mask.drop_logits.normal_()
        before = mask.keep_prob()
        for finer in mask.finer_logits:
            finer.normal_()
    coarse = mask.drop_logits.sigmoid()
    up = F.interpolate(1 - coarse, (16, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(mask.keep_prob(0.2), up)
    middle = F.interpolate(mask.drop_logits, (4, 4), mode="bilinear") + mask.finer_logits[0]
    up = F.interpolate(torch.sigmoid(-middle), (16, 16), mode="bilinear")
    torch.testing.assert_close(mask.keep_prob(0.5), up)
    assert not torch.allclose(mask.final_keep_prob(), before)
    torch.testing.assert_close(mask.keep_prob(1.0).detach(), mask.final_keep_prob())
    mask.keep_prob(0.5).sum().backward()
    assert mask.finer_logits[1].grad is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": [1, 0.5, 0.1]}, "a first and a last"),
        ({"temperature": [1, 0]}, "temperature must be above 0"),
        ({"blob_size": [8, 0]}, "blob_size must be above 0"),
        ({"blob_size": []}, "blob_size must be one number or several"),
        ({"grids": [7, 4]}, "coarse to fine"),
        ({"grids": [4, 17]}, "17 x 17"),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        ConcreteMask(1, (16, 20), **{"grid": 4, **settings})
