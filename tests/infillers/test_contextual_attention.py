"""The contextual-attention network and the infiller around it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fido.data.samples import SamplePhotos
from fido.infillers.contextual_attention import ContextualAttentionInfiller
from fido.infillers.local import LocalInfiller
from fido.infillers.mean import MeanInfiller
from fido.masks.distributions.bernoulli import BernoulliCells
from fido.networks.contextual_attention import (
    ContextualAttention,
    ContextualAttentionNet,
    push_pull,
)
from fido.training.infiller import hole_l1_loss

SMALL = (16, 16, 32)


def photos(n=2, size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 5, generator=generator)
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)


def pixels(n=2, size=64, rate=0.5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, 1, size, size, generator=generator) < rate).float()


def trained(seed=0):
    """A network whose head is not zero, so that everything inside reaches the proposal."""
    torch.manual_seed(seed)
    net = ContextualAttentionNet(SMALL)
    torch.nn.init.normal_(net.head.weight, std=0.05)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("gain", [(1.0, 0), (4.0, 0), (4.0, 4)])
@pytest.mark.parametrize("size", [(32, 32), (48, 32), (224, 224), (7, 7)])
def test_prefill_keeps_what_is_kept_and_never_reads_what_is_dropped(size, gain):
    image = torch.rand(2, 3, *size)
    keep = (torch.rand(2, 1, *size) < 0.3).float()
    fill = push_pull(image, keep)
    assert torch.equal(fill * keep, image * keep)
    assert torch.equal(fill, push_pull(torch.where(keep == 1, image, 1 - image), keep))
    assert fill.min() >= 0
    assert fill.max() <= 1


def test_prefill_of_one_colour_is_that_colour_and_of_nothing_is_grey():
    colour = torch.tensor([0.2, 0.4, 0.9]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    one = torch.zeros(1, 1, 32, 32)
    one[..., 5, 9] = 1
    for gain in ((1.0, 0), (4.0, 0), (4.0, 4)):
        assert torch.allclose(push_pull(colour, one, *gain), colour, atol=1e-6)
        nothing = push_pull(colour, torch.zeros(1, 1, 32, 32), *gain)
        assert torch.allclose(nothing, torch.tensor(0.5), atol=1e-6)


def test_a_gain_of_four_takes_the_colour_of_near_pixels():
    """Left half black, right half white, one pixel in four kept: no grey far from the edge."""
    image = torch.zeros(1, 3, 64, 64)
    image[..., 32:] = 1
    keep = torch.zeros(1, 1, 64, 64)
    keep[..., ::2, ::2] = 1
    assert push_pull(image, keep, 4.0)[..., :24].max() == 0
    assert push_pull(image, keep, 4.0)[..., 40:].min() == 1
    assert push_pull(image, keep, 1.0)[..., :24].max() > 0.1


def test_relaxing_a_hole_in_a_slope_makes_it_a_slope():
    image = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(1, 3, 64, 64)
    keep = torch.ones(1, 1, 64, 64)
    keep[..., 16:48, 16:48] = 0

    def error(relaxations):
        return (push_pull(image, keep, 4.0, relaxations) - image).abs().mean()

    assert error(4) < 0.6 * error(0)
    assert error(64) < 0.3 * error(0)


def test_the_untrained_network_proposes_the_prefill():
    image, keep = photos(), pixels()
    net = ContextualAttentionNet(SMALL)
    assert torch.allclose(net(image, keep), push_pull(image, keep, gain=4.0, relaxations=4))


def test_the_network_is_light():
    net = ContextualAttentionNet()
    assert sum(p.numel() for p in net.parameters()) <= 3_000_000
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        net(torch.zeros(1, 3, 224, 224), torch.ones(1, 1, 224, 224))
    assert counter.get_total_flops() <= 2.0e9


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5, 0.9])
def test_attention_is_alive_under_scattered_masks(rate):
    # The hard rule of 2018 needs a wholly kept 3 x 3 patch of cells and would find none here.
    kept = torch.nn.functional.avg_pool2d(pixels(4, 224, rate), 16)
    assert kept.max() < 1
    torch.manual_seed(0)
    attention = ContextualAttention(32, 16)
    x, fine = torch.randn(4, 32, 14, 14), torch.randn(4, 16, 28, 28)
    weights = attention.weights(x, kept)
    assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5)
    # Alive: no key has more than a small part, and what is copied varies from place to place.
    assert weights.amax(-1).mean() < 0.5
    coarse, pasted = attention(x, fine, kept)
    assert (coarse - x).std() > 0.01
    assert pasted.std((2, 3)).mean() > 0.01


def test_attention_copies_from_the_kept_place_that_looks_alike():
    attention = ContextualAttention(4, 4, heads=1)
    for layer in (attention.query, attention.key):
        torch.nn.init.dirac_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x = torch.zeros(1, 4, 4, 4)
    x[0, 0] = 1  # background
    kept = torch.ones(1, 1, 4, 4)
    for place in ((0, 0), (1, 2), (3, 3)):  # three places that look alike
        x[0, :, place[0], place[1]] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    kept[0, 0, 0, 0] = 0  # the query is dropped
    kept[0, 0, 3, 3] = 0  # and so is one of the two that it could copy from
    weights = attention.weights(x, kept)[0, 0, 0].view(4, 4)
    assert weights[1, 2] > 0.99
    assert weights[3, 3] < 2e-3 * weights[1, 2]


def test_no_dropped_pixel_has_an_influence():
    net, image, keep = trained(), photos(), pixels(rate=0.3)
    other = torch.where(keep == 1, image, torch.rand_like(image))
    assert torch.equal(net(image, keep), net(other, keep))
    for resolution in (None, 32):
        infiller = ContextualAttentionInfiller(None, SMALL, resolution=resolution)
        infiller.network = net
        assert torch.equal(infiller.infill(image, keep), infiller.infill(other, keep))


def test_the_shipped_weights_beat_simple_fills_on_the_sample_photos():
    shipped = ContextualAttentionInfiller()
    source = SamplePhotos(size=(224, 224))
    image = torch.stack([source.load(entry).image for entry in source.selected()])
    for side, rate in [(4, 0.3), (4, 0.5), (16, 0.5)]:
        cells = BernoulliCells((side,), (rate, rate))
        keep = cells.sample(len(image), (224, 224), torch.Generator().manual_seed(0)).float()
        ours = hole_l1_loss(shipped.infill(image, keep), image, keep)
        for other in (MeanInfiller(), LocalInfiller()):
            assert ours < 0.95 * hole_l1_loss(other.infill(image, keep), image, keep)


def test_everything_kept_is_the_image_bit_for_bit():
    infiller = ContextualAttentionInfiller(None, SMALL)
    infiller.network = trained()
    image = photos()
    assert torch.equal(infiller.infill(image, torch.ones(2, 1, 64, 64)), image)
    keep = pixels(rate=0.4)
    assert torch.equal(infiller.infill(image, keep) * keep, image * keep)


@pytest.mark.parametrize("size", [(64, 64), (50, 71)])
@pytest.mark.parametrize("rows_per_pass", [1, 4, None])
def test_rows_are_independent_and_any_size_is_taken(size, rows_per_pass):
    infiller = ContextualAttentionInfiller(None, SMALL, rows_per_pass=rows_per_pass)
    infiller.network = trained()
    image = torch.rand(2, 3, *size)
    keep = (torch.rand(6, 1, *size) < 0.5).float()
    filled = infiller.infill(image, keep)
    assert filled.shape == (6, 3, *size)
    assert filled.min() >= 0
    assert filled.max() <= 1
    assert not filled.requires_grad
    alone = infiller.infill(image[1:], keep[4:5])  # rows 3 to 5 belong to the second image
    assert torch.allclose(filled[4:5], alone, atol=1e-5)


def test_bf16_fills_like_float32():
    image, keep = photos(), pixels(rate=0.3)
    fills = []
    for precision in ("float32", "bf16"):
        infiller = ContextualAttentionInfiller(None, SMALL, precision=precision)
        infiller.network = trained()
        fills.append(infiller.infill(image, keep))
    assert fills[1].dtype == torch.float32
    assert 0 < (fills[0] - fills[1]).abs().max() < 0.02


def test_a_dead_mask_is_finite():
    infiller = ContextualAttentionInfiller(None, SMALL)
    infiller.network = trained()
    filled = infiller.infill(photos(1), torch.zeros(1, 1, 64, 64))
    assert filled.isfinite().all()


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="precision"):
        ContextualAttentionInfiller(None, precision="half")
    with pytest.raises(ValueError, match="multiple of 16"):
        ContextualAttentionInfiller(None, resolution=100)
    with pytest.raises(FileNotFoundError, match="no weights file"):
        ContextualAttentionInfiller("nowhere.safetensors")
    with pytest.raises(ValueError, match="shipped"):
        ContextualAttentionInfiller("unknown")
