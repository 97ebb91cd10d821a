import math

import pytest
import torch
import torch.nn.functional as F

from fido.masks.concrete import ConcreteMask, binarize, composite
from fido.runtime.noise import ImageNoise


def test_composite_is_the_image_bit_for_bit_where_everything_is_kept():
    image = torch.rand(2, 3, 9, 7)
    infill = torch.rand(6, 3, 9, 7)
    kept = composite(image, torch.ones(6, 1, 9, 7), infill)
    assert torch.equal(kept, image.repeat_interleave(3, 0))
    assert torch.equal(composite(image, torch.zeros(6, 1, 9, 7), infill), infill)


def test_composite_is_the_formula_and_its_gradient():
    image, infill = torch.rand(1, 3, 5, 6), torch.rand(4, 3, 5, 6)
    keep = torch.rand(4, 1, 5, 6, requires_grad=True)
    mixed = composite(image, keep, infill)
    torch.testing.assert_close(mixed, keep * image + (1 - keep) * infill)
    (gradient,) = torch.autograd.grad(mixed.sum(), keep)
    torch.testing.assert_close(gradient, (image - infill).sum(1, keepdim=True))


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("unit", ["pixel", "cell"])
def test_a_sample_exceeds_one_half_with_the_keep_probability(temperature, unit):
    mask = ConcreteMask(1, (12, 12), grid=3, temperature=temperature, unit=unit)
    with torch.no_grad():
        mask.drop_logits.copy_(torch.linspace(-3, 3, 9).view(1, 1, 3, 3))
    noise = ImageNoise(0, ["a"], "mask")
    share = binarize(mask.sample(20000, noise)).mean(0, keepdim=True)
    if unit == "pixel":
        expected = mask.final_keep_prob()
    else:
        cells = torch.sigmoid(-mask.drop_logits)
        expected = F.interpolate(cells, (12, 12), mode="nearest-exact")
    # Five standard deviations of a share of 20,000 draws.
    assert float((share - expected).abs().max()) < 5 * math.sqrt(0.25 / 20000)


def test_sampling_equals_the_formula_of_the_relaxation():
    mask = ConcreteMask(2, (8, 6), grid=(4, 3), temperature=0.1)
    with torch.no_grad():
        mask.drop_logits.normal_(std=2)
    sampled = mask.sample(3, ImageNoise(7, ["a", "b"], "mask"))
    u = ImageNoise(7, ["a", "b"], "mask").uniform(3, 1, 8, 6)
    for row in range(6):
        drop = F.interpolate(
            torch.sigmoid(mask.drop_logits[row // 3][None]),
            (8, 6),
            mode="bilinear",
            align_corners=False,
        )[0]
        keep = 1 - drop
        logit = torch.log(keep) - torch.log1p(-keep) + torch.log(u[row]) - torch.log1p(-u[row])
        torch.testing.assert_close(sampled[row], torch.sigmoid(logit / 0.1), atol=1e-5, rtol=1e-4)


def test_samples_carry_gradient_to_every_cell():
    mask = ConcreteMask(1, (16, 16), grid=4)
    mask.sample(8, ImageNoise(0, ["a"], "mask")).sum().backward()
    assert (mask.drop_logits.grad.abs() > 0).all()


def test_extreme_logits_stay_finite_in_value_and_gradient():
    mask = ConcreteMask(1, (8, 8), grid=2)
    with torch.no_grad():
        mask.drop_logits.copy_(torch.tensor([[-60.0, 60.0], [-15.0, 15.0]])[None, None])
    sample = mask.sample(4, ImageNoise(0, ["a"], "mask"))
    sample.sum().backward()
    assert sample.isfinite().all()
    assert mask.drop_logits.grad.isfinite().all()


def test_masks_are_float32_under_autocast():
    mask = ConcreteMask(1, (8, 8), grid=2)
    with torch.autocast("cpu", torch.bfloat16):
        assert mask.sample(1, ImageNoise(0, ["a"], "mask")).dtype == torch.float32


def test_upsampling_logits_or_probabilities_are_two_different_maps():
    cells = torch.tensor([[4.0, -4.0], [-4.0, 4.0]])[None, None]
    maps = {}
    for name in ("probability", "logit"):
        mask = ConcreteMask(1, (8, 8), grid=2, final_map=name, upsample=name)
        with torch.no_grad():
            mask.drop_logits.copy_(cells)
        maps[name] = mask.final_keep_prob()
        torch.testing.assert_close(maps[name], mask.keep_prob().detach())
    up = F.interpolate(cells, (8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(maps["logit"], torch.sigmoid(-up))
    assert (maps["logit"] - maps["probability"]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"grid": 17}, "grid"),
        ({"grid": 0}, "grid"),
        ({"temperature": 0}, "temperature"),
        ({"initial_keep_prob": 1}, "initial_keep_prob"),
        ({"unit": "pixels"}, "pixel, cell"),
        ({"final_map": "probs"}, "probability, logit"),
    ],
)
def test_wrong_settings_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        ConcreteMask(1, (16, 20), **{"grid": 4, **settings})


def test_noise_of_an_image_does_not_depend_on_its_batch():
    alone = ImageNoise(3, ["b"], "mask")
    together = ImageNoise(3, ["a", "b", "c"], "mask")
    for _ in range(2):
        torch.testing.assert_close(
            together.uniform(2, 1, 4, 4)[2:4], alone.uniform(2, 1, 4, 4), rtol=0, atol=0
        )
    other_purpose = ImageNoise(3, ["b"], "infill").uniform(2, 1, 4, 4)
    assert not torch.equal(ImageNoise(3, ["b"], "mask").uniform(2, 1, 4, 4), other_purpose)
