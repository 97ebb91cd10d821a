import dataclasses

import pytest
import torch
from planted import box_region, planted_sample

from fido.explainers.baselines import Center, Full, GroundTruthBox, RandomMap
from fido.records import Sample


def test_full_is_everything():
    (explanation,) = Full().explain([planted_sample()])
    assert bool(explanation.region.all())
    assert explanation.saliency.shape == (1, 40, 48)


def test_center_is_the_papers_box_at_224_and_as_large_elsewhere():
    (explanation,) = Center().explain([Sample("a", torch.zeros(3, 224, 224), target=0)])
    expected = torch.zeros(1, 224, 224)
    expected[:, 33:191, 33:191] = 1
    assert torch.equal(explanation.saliency, expected)
    (other,) = Center(0.25).explain([Sample("a", torch.zeros(3, 40, 60), target=0)])
    assert bool(other.region[0, 10:30, 15:45].all())
    assert float(other.region.float().mean()) == 0.25


def test_boxes_are_marked_and_joined():
    sample = planted_sample()
    (explanation,) = GroundTruthBox().explain([sample])
    assert torch.equal(explanation.region, box_region())
    two = dataclasses.replace(sample, boxes=torch.tensor([[0.4, 0, 2.6, 1], [2, 0, 4, 1]]))
    (joined,) = GroundTruthBox().explain([two])
    assert joined.region[0, 0].nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert int(joined.region.sum()) == 4


def test_a_sample_without_boxes_has_no_explanation():
    (explanation,) = GroundTruthBox().explain([dataclasses.replace(planted_sample(), boxes=None)])
    assert explanation.failure == "the sample has no boxes"


@pytest.mark.parametrize("grid", [None, 7])
def test_random_maps_belong_to_seed_and_image(grid):
    a, b = planted_sample(image_id="a"), planted_sample(image_id="b")
    first, other = RandomMap(grid, seed=1).explain([a, b])
    (again,) = RandomMap(grid, seed=1).explain([a])
    (reseeded,) = RandomMap(grid, seed=2).explain([a])
    assert torch.equal(first.saliency, again.saliency)
    assert not torch.equal(first.saliency, other.saliency)
    assert not torch.equal(first.saliency, reseeded.saliency)
    assert 0 <= float(first.saliency.min()) < float(first.saliency.max()) < 1
    assert float(first.region.float().mean()) == pytest.approx(0.5, abs=0.15)
    if grid is None:
        assert len(first.saliency.unique()) > 1900


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match="area"):
        Center(0)
    with pytest.raises(ValueError, match="grid"):
        RandomMap(0)
