"""What is taken out of a region, and what is not."""

from functools import partial

import pytest
import torch
from planted import box_region, planted_classifier, planted_sample

from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR
from fido.masks.specks import without_specks


def parts():
    """A block that weighs 16 * .4, a bar of 4 * .5 and a speck of .1, by itself at a corner."""
    saliency = torch.full((1, 10, 12), 0.2)
    saliency[0, 0:4, 0:4] = 0.9
    saliency[0, 6, 0:4] = 1.0
    saliency[0, 4, 4] = 0.6
    return saliency


@pytest.mark.parametrize(
    ("share", "left"), [(0, 21), (0.01, 21), (0.1, 20), (0.3, 20), (0.35, 16), (1, 16)]
)
def test_parts_go_by_their_weight(share, left):
    saliency = parts()
    cleaned = without_specks(saliency, 0.5, share)
    assert int((cleaned > 0.5).sum()) == left
    changed = cleaned != saliency
    assert (cleaned[changed] == 0.5).all()
    assert torch.equal(saliency, parts())


def test_a_region_of_one_part_or_none_stays():
    saliency = torch.full((1, 4, 4), 0.2)
    assert without_specks(saliency, 0.5, 1) is saliency
    saliency[0, 1, 1] = 1
    assert without_specks(saliency, 0.5, 1) is saliency


def test_a_map_learned_for_two_boxes_keeps_the_heavier():
    """One step of an objective without evidence leaves specks of any weight: the option counts."""
    mask = partial(ConcreteMask, grid=(10, 12), unit="cell", temperature=0.5)
    make = partial(Fido, planted_classifier(), MeanInfiller((0.2, 0.2, 0.2)), mask=mask)
    plain = make(SSR(0.005), steps=6, samples=2, learning_rate=0.5)
    cleaned = make(SSR(0.005), steps=6, samples=2, learning_rate=0.5, specks=1)
    (before,), (after,) = (fido.explain([planted_sample()]) for fido in (plain, cleaned))
    assert torch.equal(before.keep_prob, after.keep_prob)
    assert torch.equal(after.saliency, without_specks(before.saliency, 0.5, 1))
    assert bool((after.region <= before.region).all())
    assert bool((after.region & box_region()).any())
    with pytest.raises(ValueError, match=r"explainer\.specks"):
        make(SSR(0.005), specks=1.5)
