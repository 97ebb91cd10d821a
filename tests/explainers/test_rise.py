import numpy as np
import pytest
import torch
from planted import BOX, planted_classifier, planted_sample
from skimage.transform import resize

from fido.explainers.rise import Rise, upsampled
from fido.infillers.local import LocalInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.concrete import binarize
from fido.runtime.noise import ImageNoise

GREY = (0.2, 0.2, 0.2)


def explainer(infiller=None, **settings):
    settings = {"masks": 300, "grid": 6, **settings}
    return Rise(planted_classifier(gain=8.0), infiller or MeanInfiller(GREY), **settings)


def masks_by_hand(count, grid, keep_prob, size, seed=0):
    """Masks one by one with scikit-image's resize, as the authors make them."""
    noise = ImageNoise(seed, ["planted"], "rise")
    cells = noise.uniform(count, 1, grid, grid)[:, 0] < keep_prob
    shift = noise.uniform(count, 2)
    side = np.ceil(np.array(size) / grid).astype(int)
    masks = []
    for cell, (down, right) in zip(cells, shift, strict=True):
        large = resize(cell.float().numpy(), (grid + 1) * side, order=1, mode="edge")
        top, left = int(down * side[0]), int(right * side[1])
        masks.append(torch.from_numpy(large[top : top + size[0], left : left + size[1]]).float())
    return torch.stack(masks)


@pytest.mark.parametrize("infiller", [MeanInfiller(GREY), LocalInfiller(9)])
def test_equals_a_loop_over_masks(infiller):
    sample, classifier, count = planted_sample(), planted_classifier(gain=8.0), 20
    masks = masks_by_hand(count, 6, 0.3, (40, 48), seed=5)
    expected = torch.zeros(40, 48)
    for mask in masks:
        infill = infiller.infill(sample.image[None], binarize(mask)[None, None])[0]
        image = mask * sample.image + (1 - mask) * infill
        expected += classifier(image[None]).softmax(1)[0, 1] * mask / (count * 0.3)
    (explanation,) = explainer(
        infiller, masks=count, keep_prob=0.3, seed=5, rows_per_pass=7
    ).explain([sample])
    torch.testing.assert_close(explanation.saliency[0], expected, rtol=1e-4, atol=1e-5)
    infills = 1 if isinstance(infiller, MeanInfiller) else count
    assert explanation.cost == {"forward": count, "backward": 0, "infill": infills}


def test_planted_evidence_comes_first():
    (explanation,) = explainer().explain([planted_sample()])
    y, x = divmod(int(explanation.saliency.argmax()), 48)
    left, top, right, bottom = BOX
    assert top <= y < bottom
    assert left <= x < right
    inside = explanation.region[:, top:bottom, left:right].float().mean()
    assert float(inside) > 0.6
    assert float(explanation.region.float().mean()) < 0.4


def test_a_mask_keeps_a_pixel_with_the_cells_probability():
    noise = ImageNoise(0, ["a"], "rise")
    cells = (noise.uniform(4000, 1, 7, 7) < 0.3).float()
    masks = upsampled(cells, noise.uniform(4000, 2), (30, 37))
    assert masks.shape == (4000, 1, 30, 37)
    torch.testing.assert_close(masks.mean(0), torch.full((1, 30, 37), 0.3), rtol=0, atol=0.035)


def test_a_classifier_that_ignores_the_image_gives_an_even_map():
    rise = Rise(planted_classifier(gain=0.0), MeanInfiller(GREY), masks=2000, grid=6)
    (explanation,) = rise.explain([planted_sample()])
    torch.testing.assert_close(
        explanation.saliency, torch.full((1, 40, 48), 0.5), rtol=0, atol=0.03
    )


def test_a_map_depends_neither_on_batches_nor_on_other_images():
    other = planted_sample(box=(30, 20, 44, 36), image_id="other")
    (alone,) = explainer(RandomInfiller(), masks=30).explain([planted_sample()])
    _, among = explainer(RandomInfiller(), masks=30, rows_per_pass=7).explain(
        [other, planted_sample()]
    )
    (reseeded,) = explainer(RandomInfiller(), masks=30, seed=1).explain([planted_sample()])
    torch.testing.assert_close(among.saliency, alone.saliency, rtol=0, atol=1e-6)
    assert not torch.allclose(reseeded.saliency, alone.saliency, atol=1e-3)


@pytest.mark.parametrize(("name", "value"), [("masks", 0), ("grid", 0), ("keep_prob", 1.0)])
def test_wrong_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        explainer(**{name: value})
