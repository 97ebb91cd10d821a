import pytest
import torch
from planted import box_region, iou, planted_classifier, planted_sample

from fido.explainers.extremal import ExtremalPerturbation
from fido.infillers.blur_pyramid import BlurPyramid
from fido.infillers.filters import gaussian_kernel, separable_filter
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.smooth import SHARPNESS, SmoothMask, _SoftMaximum

GREY = (0.2, 0.2, 0.2)


def explainer(infiller=None, **settings):
    # 40 x 48 pixels have few neighbours of a cell: weight and sizes are scaled down from 224. The
    # planted box is no mirror image of itself, so nothing is flipped. It covers a tenth.
    settings = {
        "perturbation": "infiller",
        "steps": 120,
        "weight": 100.0,
        "growth": 1.01,
        "cell_size": 4,
        "sigma": 6.0,
        "margin": 0,
        "max_sigma": 8.0,
        "flip": False,
        **settings,
    }
    return ExtremalPerturbation(planted_classifier(), infiller or MeanInfiller(GREY), **settings)


@pytest.mark.parametrize("variant", ["preserve", "delete", "dual"])
def test_planted_evidence_is_found_at_the_area_asked_for(variant):
    weight = 200.0 if variant == "dual" else 100.0  # two rewards against one constraint
    (explanation,) = explainer(variant=variant, weight=weight).explain([planted_sample()])
    assert iou(explanation.region, box_region()) > 0.6
    assert float(explanation.region.float().mean()) == pytest.approx(0.1, abs=0.03)
    rows = 240 if variant == "dual" else 120
    assert explanation.cost == {"forward": rows, "backward": rows, "infill": rows}


def test_the_blur_pyramid_needs_no_infiller():
    (explanation,) = explainer(perturbation="blur_pyramid", variant="delete").explain(
        [planted_sample()]
    )
    assert iou(explanation.region, box_region()) > 0.7
    assert explanation.cost == {"forward": 120, "backward": 120, "infill": 0}


def test_contrast_is_the_log_odds_of_two_classes():
    contrast = explainer(reward="contrast")
    logits = torch.tensor([[1.0, 4.0], [2.0, 0.5]])
    assert contrast._reward(logits, torch.tensor([1, 1])).tolist() == [3.0, -1.5]
    (explanation,) = contrast.explain([planted_sample()])
    assert iou(explanation.region, box_region()) > 0.6


def test_several_areas_are_one_map_of_nested_regions():
    (explanation,) = explainer(areas=[0.05, 0.2]).explain([planted_sample()])
    (small,) = explainer(areas=[0.05]).explain([planted_sample()])
    (large,) = explainer(areas=[0.2]).explain([planted_sample()])
    torch.testing.assert_close(
        explanation.saliency, (small.saliency + large.saliency) / 2, rtol=0, atol=1e-4
    )
    assert explanation.cost["forward"] == 240


def test_every_update_equals_a_plain_loop():
    """Preserve with gray, against autograd through a mask made pixel by pixel."""
    sample, classifier, steps = planted_sample(), planted_classifier(), 6
    (explanation,) = explainer(steps=steps, margin=4, flip=True).explain([sample])
    cells = torch.ones(10, 12, requires_grad=True)
    velocity, losses, weight = torch.zeros(10, 12), [], 100.0
    for step in range(steps):
        full = by_hand(cells, (40, 48), 4, 6.0, 4)
        mask = full[4:44, 4:52]
        image = mask * sample.image + (1 - mask) * 0.2
        logit = classifier((image.flip(2) if step % 2 == 0 else image)[None])[0, 1]
        values = full.flatten().sort().values
        wanted = torch.zeros(48 * 56)
        wanted[-round(0.1 * 48 * 56) :] = 1
        loss = weight * (values - wanted).square().mean() - logit
        losses.append(float(loss.detach()))
        (slope,) = torch.autograd.grad(loss, cells)
        velocity = slope if step == 0 else 0.9 * velocity + 0.1 * slope
        cells.data = (cells.data - 0.01 * velocity).clamp(0, 1)
        weight *= 1.01
    torch.testing.assert_close(
        explanation.history["loss"], torch.tensor(losses), rtol=1e-4, atol=1e-4
    )
    final = by_hand(cells.detach(), (40, 48), 4, 6.0, 4)[4:44, 4:52]
    # Cells start equal, and which of equal values count as the largest is the sort's choice.
    torch.testing.assert_close(explanation.saliency[0], final, rtol=0, atol=5e-3)


def by_hand(cells, size, step, sigma, margin):
    """A smooth mask from the distance of every pixel to every cell, cut to the same neighbours."""
    y = torch.arange(-margin, size[0] + margin)
    x = torch.arange(-margin, size[1] + margin)
    reach = 1 + -(-int(sigma) // step)
    values, weights = [], []
    padded = torch.nn.functional.pad(cells, [20] * 4)
    for i in range(-20, cells.shape[0] + 20):
        for j in range(-20, cells.shape[1] + 20):
            near_y = (torch.div(y, step, rounding_mode="floor") - i).abs() <= reach
            near_x = (torch.div(x, step, rounding_mode="floor") - j).abs() <= reach
            if not (near_y.any() and near_x.any()):
                continue
            down = y - (i * step + (step - 1) / 2)
            right = x - (j * step + (step - 1) / 2)
            distance = (down[:, None].square() + right[None].square()).sqrt()
            w = torch.exp(-2 * (distance / sigma - 0.5).clamp(min=0).square())
            values.append(w * padded[i + 20, j + 20])
            weights.append(near_y[:, None] & near_x[None])
    reached = torch.stack(values)
    powers = (SHARPNESS * reached).exp() * torch.stack(weights)
    return (reached * powers).sum(0) / powers.sum(0)


@pytest.mark.parametrize("margin", [0, 3, 8])
def test_smooth_masks_equal_sums_over_all_cells(margin):
    mask = SmoothMask((22, 30), cell_size=4, sigma=6.0, margin=margin)
    assert mask.grid == (6, 8)
    cells = torch.rand(2, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    full = mask.with_margin(cells)
    assert full.shape == (2, 1, 22 + 2 * margin, 30 + 2 * margin)
    for n in range(2):
        torch.testing.assert_close(full[n, 0], by_hand(cells[n, 0], (22, 30), 4, 6.0, margin))
    assert mask.crop(full).shape == (2, 1, 22, 30)


def test_gradient_of_the_soft_maximum():
    generator = torch.Generator().manual_seed(0)
    near = torch.rand(2, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: _SoftMaximum.apply(x, weight), near)


def test_blur_pyramid_goes_from_most_blurred_to_the_image():
    image = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    colour = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
    pyramid = BlurPyramid(image, colour, max_sigma=4.0, levels=5)
    assert torch.equal(pyramid.mix(torch.ones(2, 1, 20, 24)), image)
    blurred = separable_filter(image - colour, gaussian_kernel(4.0, 12), "zeros") + colour
    torch.testing.assert_close(pyramid.mix(torch.zeros(2, 1, 20, 24)), blurred)
    keep = torch.rand(4, 1, 20, 24, generator=torch.Generator().manual_seed(1)).requires_grad_()
    mixed = pyramid.mix(keep)  # rows 2 and 3 belong to the second image
    place = float(keep[3, 0, 7, 9].detach()) * 4
    low, share = int(place), place - int(place)
    levels = pyramid.levels[1, :, :, 7, 9]
    expected = (1 - share) * levels[low] + share * levels[low + 1]
    torch.testing.assert_close(mixed[3, :, 7, 9], expected)
    mixed.sum().backward()
    slope = 4 * (levels[low + 1] - levels[low]).sum()
    torch.testing.assert_close(keep.grad[3, 0, 7, 9], slope, rtol=1e-4, atol=1e-5)


def test_a_map_does_not_depend_on_its_batch():
    extremal = explainer(RandomInfiller(), steps=15, rows_per_pass=2)
    others = [planted_sample(box=b, image_id=str(b)) for b in ((4, 4, 12, 12), (30, 20, 44, 36))]
    batch = [planted_sample(), *others]
    (alone,) = extremal.explain(batch[:1])
    for order in (batch, batch[::-1]):
        (found,) = [e for e in extremal.explain(order) if e.id == "planted"]
        torch.testing.assert_close(found.saliency, alone.saliency, rtol=0, atol=1e-4)


def test_works_where_gradients_are_switched_off_and_leaves_the_classifier_alone():
    extremal = explainer(steps=3)
    with torch.no_grad():
        (explanation,) = extremal.explain([planted_sample()])
    assert len(explanation.history["loss"]) == 3
    assert all(not p.requires_grad for p in extremal.classifier.parameters())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("areas", [0.1, 1.0]),
        ("areas", []),
        ("variant", "keep"),
        ("reward", "p"),
        ("perturbation", "blur"),
        ("steps", 0),
        ("learning_rate", 0),
    ],
)
def test_wrong_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        explainer(**{name: value})


def test_cells_larger_than_the_image_are_refused():
    with pytest.raises(ValueError, match=r"step.*40"):
        explainer(cell_size=41).explain([planted_sample()])
