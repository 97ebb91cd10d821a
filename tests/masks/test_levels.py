"""The level of a map that is as high as the constraints allow."""

from functools import partial

import pytest
import torch
from planted import box_region, iou, planted_classifier, planted_sample

from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.levels import levels_of, smallest_level
from fido.masks.objectives import SDR, SSR, Both
from fido.masks.sparsity import constrained_masks, slack_of


def test_levels_have_regions_of_the_areas_and_one_half_is_among_them():
    saliency = torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(0))
    levels = levels_of(saliency)
    assert 0.5 in levels
    areas = (saliency > levels.view(-1, 1, 1)).float().mean((1, 2))
    assert (areas.diff() < 0).all()
    for area in (0.02, 0.2, 0.7):
        assert (areas - area).abs().min() < 0.001


def test_of_a_flat_map_there_are_two_levels_at_most():
    assert levels_of(torch.full((1, 8, 8), 0.3)).tolist() == pytest.approx([0.3, 0.5])


@pytest.mark.parametrize(
    ("slack", "level"),
    [
        ([2.0, 1.0, 0.0, -1.0], 0.3),  # the smallest region that meets them
        ([1.0, -1.0, 0.5, -2.0], 0.3),  # slack need not fall with the region
        ([-3.0, -0.5, -1.0, -2.0], 0.2),  # none: the nearest
    ],
)
def test_the_smallest_region_that_meets_the_constraints(slack, level):
    levels = torch.tensor([0.1, 0.2, 0.3, 0.4])
    assert smallest_level(levels, torch.tensor(slack)) == pytest.approx(level)


def test_slack_is_that_of_the_constraint_nearest_to_its_bound():
    region = torch.zeros(2, 1, 2, 2)
    region[1] = 1
    least, most = torch.tensor([1.0, 1.0]), torch.tensor([-1.0, -1.0])
    assert constrained_masks(region, least, most).mean((1, 2, 3)).tolist() == [0, 1, 1, 0]
    assert constrained_masks(region, None, most).mean((1, 2, 3)).tolist() == [1, 0]
    log_odds = torch.tensor([3.0, -1.5, 0.5, -9.0])
    assert slack_of(log_odds, least, most).tolist() == [0.5, -0.5]
    assert slack_of(log_odds[:2], None, most).tolist() == [-4.0, 0.5]


@pytest.mark.parametrize("objective", [SSR("auto"), SDR("auto"), Both(0.01)])
def test_the_region_of_a_short_run_meets_what_is_asked_of_it(objective):
    """After so few steps the map is far from 0 and 1, and 1/2 is not its best level."""
    classifier, sample = planted_classifier(), planted_sample()
    mask = partial(ConcreteMask, grid=(10, 12), unit="cell", temperature=0.5)
    grey = MeanInfiller((0.2, 0.2, 0.2))
    fido = Fido(
        classifier, grey, objective, mask, steps=24, samples=4, learning_rate=0.02, level="auto"
    )
    (explanation,) = fido.explain([sample])
    fill = torch.full_like(sample.image, 0.2)
    kept = torch.where(explanation.region, sample.image, fill)
    rest = torch.where(explanation.region, fill, sample.image)
    p = classifier.probabilities(torch.stack([sample.image, kept, rest]))[:, 1]
    if objective.keep_share:
        assert p[1] >= 0.9 * p[0]
    if objective.removed_share:
        assert p[2] <= 0.1 * p[0]
    assert iou(explanation.region, box_region()) > 0.5
    assert explanation.threshold != 0.5


def test_a_level_of_its_own_and_what_is_no_level():
    mask = partial(ConcreteMask, grid=5, unit="cell")
    make = partial(Fido, planted_classifier(), MeanInfiller(), mask=mask, steps=2, samples=2)
    (explanation,) = make(SSR(0.01), level=0.3).explain([planted_sample()])
    assert explanation.threshold == 0.3
    with pytest.raises(ValueError, match=r"explainer\.level.*'half'"):
        make(SSR(0.01), level="half")
    with pytest.raises(ValueError, match="keep_share"):
        make(SSR(0.01, keep_share=None), level="auto")
