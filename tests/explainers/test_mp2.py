import pytest
import torch
from planted import box_region, iou, planted_classifier, planted_sample

from fido.explainers.mp2 import Mp2, chance
from fido.infillers.base import Infiller
from fido.infillers.blur import BlurInfiller
from fido.infillers.local import LocalInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller

GREY = (0.2, 0.2, 0.2)


class AnyMask(Infiller):
    """Another infiller's proposals without the promise that one serves all masks."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def infill(self, image, keep, noise=None):
        return self.inner.infill(image, keep).clone()


def explainer(infiller=None, classifier=None, **settings):
    settings = {"grid": 8, **settings}
    return Mp2(classifier or planted_classifier(), infiller or MeanInfiller(GREY), **settings)


def cell_block(cell, grid=8, size=(40, 48)):
    """Rows and columns of one cell, for grids that divide the image."""
    side = (size[0] // grid, size[1] // grid)
    top, left = cell // grid * side[0], cell % grid * side[1]
    return slice(top, top + side[0]), slice(left, left + side[1])


def grow_by_hand(sample, infiller, gradient, grid=8, each=2):
    """MP2 one image, one step and one cell at a time; cells by rank and probabilities."""
    classifier, image = planted_classifier(), sample.image
    dropped, probabilities = [], []
    while True:
        keep = torch.ones(1, 40, 48)
        for cell in dropped:
            keep[(slice(None), *cell_block(cell))] = 0
        infill = infiller.infill(image[None], keep[None])[0]
        keep.requires_grad_()
        mixed = keep * image + (1 - keep) * infill
        mixed.retain_grad()
        logits = classifier(mixed[None])
        p = logits.softmax(1)[0, 1]
        probabilities.append(float(p.detach()))
        if p <= 0.5 or len(dropped) == grid * grid:
            return dropped, probabilities
        p.backward()
        norms = {}
        for cell in set(range(grid * grid)) - set(dropped):
            block = cell_block(cell, grid)
            if gradient == "image_cell":
                norms[cell] = float(mixed.grad[(slice(None), *block)].norm())
            else:
                norms[cell] = abs(float(keep.grad[(slice(None), *block)].sum()))
        # Gradients of equal cells differ in the last bits; round so that the first one wins.
        dropped += sorted(norms, key=lambda c: (-round(norms[c], 7), c))[:each]


@pytest.mark.parametrize("gradient", ["image_cell", "mask"])
@pytest.mark.parametrize("infiller", [MeanInfiller(GREY), BlurInfiller(3.0), LocalInfiller(9)])
def test_growth_equals_a_plain_loop(infiller, gradient):
    sample = planted_sample()
    sample.image.mul_(1 + 0.1 * torch.rand(1, 40, 48, generator=torch.Generator().manual_seed(0)))
    dropped, probabilities = grow_by_hand(sample, infiller, gradient)
    (explanation,) = explainer(infiller, gradient=gradient).explain([sample])
    torch.testing.assert_close(
        explanation.history["probability"], torch.tensor(probabilities), rtol=1e-3, atol=1e-5
    )
    expected = torch.zeros(1, 40, 48)
    for rank, cell in enumerate(dropped):
        expected[(slice(None), *cell_block(cell))] = (len(dropped) - rank) / len(dropped)
    assert torch.equal(explanation.region, expected > 0)
    # Cells inside of the box tie, in exact arithmetic, under the image gradient.
    if gradient == "mask":
        torch.testing.assert_close(explanation.saliency, expected)


def test_planted_evidence_is_found_and_nothing_else():
    """Cells of 4 pixels tile the box; chance is where a little more than half of it is gone."""
    size = (40, 40)
    mp2 = explainer(classifier=planted_classifier(size), grid=10)
    (explanation,) = mp2.explain([planted_sample(size)])
    assert not bool((explanation.region & ~box_region(size)).any())
    assert 0.55 < iou(explanation.region, box_region(size)) < 0.8
    assert explanation.history["reached_chance"].tolist()[-2:] == [0, 1]
    assert explanation.history["probability"][-1] <= 0.5 < explanation.history["probability"][-2]


def test_mp2_g_with_the_blur_infiller_is_mp2():
    sample = planted_sample()
    (mp2,) = explainer(BlurInfiller(4.0)).explain([sample])
    (mp2_g,) = explainer(AnyMask(BlurInfiller(4.0))).explain([sample])
    torch.testing.assert_close(mp2.history, mp2_g.history)
    assert torch.equal(mp2.saliency, mp2_g.saliency)
    looks = len(mp2.history["score"])
    assert mp2.cost == {"forward": looks, "backward": looks, "infill": 1}
    assert mp2_g.cost == {"forward": looks, "backward": looks, "infill": looks}


def test_chance_out_of_reach_is_flagged_and_the_map_still_ranks_the_cells():
    """Infilling with white makes the bright class more probable with every cell."""
    (capped,) = explainer(MeanInfiller((1.0, 1.0, 1.0)), max_steps=5).explain([planted_sample()])
    assert capped.failure is None
    assert capped.history["reached_chance"].tolist() == [0.0] * 6
    assert capped.saliency.unique().tolist() == pytest.approx([i / 10 for i in range(11)])
    (whole,) = explainer(MeanInfiller((1.0, 1.0, 1.0))).explain([planted_sample()])
    assert bool(whole.region.all())
    assert len(whole.history["probability"]) == 33
    assert whole.history["area"][-1] == 1


@pytest.mark.parametrize(
    ("classes", "expected"), [(1000, 0.001), (365, 0.003), (10, 0.1), (3, 1 / 3), (5000, 1 / 5000)]
)
def test_chance_is_that_of_the_paper(classes, expected):
    """Agarwal & Nguyen 2020, section 3.5: 0.001 for ImageNet and 0.003 for Places365."""
    assert chance(classes) == expected


def test_an_odd_number_of_cells_is_dropped_to_the_last():
    (whole,) = explainer(MeanInfiller((1.0, 1.0, 1.0)), grid=5).explain([planted_sample()])
    assert len(whole.history["probability"]) == 14
    assert len(whole.saliency.unique()) == 25


def test_a_class_below_chance_from_the_start_has_an_empty_region():
    dark = planted_sample()
    dark.image.fill_(0.1)
    (explanation,) = explainer().explain([dark])
    assert not bool(explanation.region.any())
    assert explanation.history["reached_chance"].tolist() == [1.0]


def test_the_binary_map_is_what_was_dropped():
    (order,) = explainer().explain([planted_sample()])
    (binary,) = explainer(map="binary").explain([planted_sample()])
    assert binary.saliency.unique().tolist() == [0, 1]
    assert torch.equal(binary.region, order.region)
    assert torch.equal(binary.keep_prob, 1 - binary.saliency)


def test_a_map_does_not_depend_on_its_batch_nor_on_when_others_finish():
    mp2 = explainer(RandomInfiller(), rows_per_pass=2)
    easy = planted_sample(image_id="easy")
    easy.image[:, 12:28, 8:20] = 0.55
    batch = [planted_sample(), easy, planted_sample(image_id="third")]
    (alone,) = mp2.explain(batch[:1])
    for order in (batch, batch[::-1]):
        found = {e.id: e for e in mp2.explain(order)}
        torch.testing.assert_close(found["planted"].saliency, alone.saliency)
        assert len(found["easy"].history["score"]) < len(alone.history["score"])
    assert len({len(e.history["score"]) for e in found.values()}) > 1


def test_works_where_gradients_are_switched_off_and_hears_the_end():
    heard = []
    mp2 = explainer(progress=lambda *news: heard.append(news[1:3]))
    with torch.no_grad():
        mp2.explain([planted_sample()])
    assert heard[:2] == [(1, 32), (2, 32)]
    assert heard.count((32, 32)) == 1
    assert heard[-1] == (32, 32)
    assert all(not p.requires_grad for p in mp2.classifier.parameters())


@pytest.mark.parametrize(
    ("name", "value"),
    [("grid", 0), ("cells_per_step", 0), ("max_steps", 0), ("gradient", "cell"), ("map", "rank")],
)
def test_wrong_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        explainer(**{name: value})
