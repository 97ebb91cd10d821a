"""The inpainting VAE and the infiller around it."""

from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn

from fido.data.samples import SamplePhotos
from fido.infillers.local import LocalInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.vae import VaeInfiller
from fido.masks.distributions.bernoulli import BernoulliCells
from fido.networks.inpainting_vae import PaperVAE, ResidualVAE, bounded
from fido.networks.push_pull import push_pull
from fido.runtime.noise import ImageNoise
from fido.training.infiller import hole_l1_loss

CONF = str(Path(__file__).parents[2] / "conf")
STYLES = {
    "paper": PaperVAE,
    "light": partial(ResidualVAE, patch=2),
}


def photos(n=2, h=32, w=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 5, generator=generator)
    return nn.functional.interpolate(coarse, (h, w), mode="bicubic").clamp(0, 1)


def cells(n=2, h=32, w=32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    coarse = (torch.rand(n, 1, -(-h // 4), -(-w // 4), generator=generator) < 0.5).float()
    return coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :h, :w]


def tiny(style, seed=0):
    """A small network whose last convolution is not zero, so that everything reaches the result."""
    torch.manual_seed(seed)
    net = STYLES[style]((8, 8, 16), latent=6, dilations=(1, 2), head=8)
    nn.init.normal_(net.predict.weight, std=0.05)
    return net.eval().requires_grad_(False)


def configured(name):
    with initialize_config_dir(CONF, version_base=None):
        return instantiate(compose(f"vae/{name}").vae, _convert_="all")


def test_the_full_network_is_the_papers():
    net = configured("full")
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    table = [
        (m.out_channels, m.kernel_size[0], m.stride[0], m.dilation[0])
        for m in net.modules()
        if isinstance(m, kinds)
    ]
    encoder = [(64, 5, 1, 1), (128, 3, 2, 1), (128, 3, 1, 1), (256, 3, 2, 1), (256, 3, 1, 1)]
    encoder += [(256, 3, 1, d) for d in (1, 2, 4, 8, 16)] + [(512, 3, 1, 1)]
    decoder = [(256, 3, 1, 1), (256, 3, 1, 1), (128, 4, 2, 1), (64, 4, 2, 1), (128, 3, 1, 1)]
    decoder += [(32, 3, 1, 1), (6, 3, 1, 1)]
    assert table == encoder + decoder
    assert [type(m) for m in net.stem] == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d]
    assert net.latent_shape(224, 224) == (256, 56, 56)
    told = net.eval().complete(photos(1, 32, 48), cells(1, 32, 48))
    assert told.mean.shape == told.log_variance.shape == (1, 3, 32, 48)
    assert told.latent_mean.shape == told.latent_log_variance.shape == (1, 256, 8, 12)


def test_the_light_network_is_light():
    net = configured("light")
    assert sum(p.numel() for p in net.parameters()) < 6e6
    assert net.latent_shape(224, 224) == (64, 14, 14)


@pytest.mark.parametrize("style", STYLES)
def test_dropped_pixels_are_never_read(style):
    image, keep = photos(), cells()
    net = tiny(style)
    other = torch.where(keep == 1, image, 1 - image)
    for seen, hidden in zip(net.complete(image, keep), net.complete(other, keep), strict=True):
        assert torch.equal(seen, hidden)
    moved = torch.where(keep == 1, 1 - image, image)
    assert not torch.allclose(net(image, keep), net(moved, keep), atol=1e-3)


def test_the_untrained_light_network_proposes_the_prefill():
    image, keep = photos(), cells()
    net = STYLES["light"]((8, 8, 16), latent=6, dilations=(1,), head=8)
    assert torch.allclose(net(image, keep), push_pull(image, keep, 4.0, 4))


@pytest.mark.parametrize("style", STYLES)
def test_noise_moves_the_latent_and_its_mean_is_taken_without(style):
    image, keep, net = photos(), cells(), tiny(style)
    shape = (2, *net.latent_shape(32, 32))
    mean = net.complete(image, keep).mean
    assert torch.allclose(net.complete(image, keep, torch.zeros(shape)).mean, mean, atol=1e-6)
    drawn = net.complete(image, keep, torch.ones(shape)).mean
    assert not torch.allclose(drawn, mean, atol=1e-3)


def test_log_variances_stay_in_their_bounds():
    net = tiny("light")
    net.predict.weight.mul_(1e4)
    net.posterior.weight.mul_(1e4)
    told = net.complete(photos(), cells())
    assert told.log_variance.min() >= net.log_variance[0]
    assert told.log_variance.max() <= net.log_variance[1]
    assert told.latent_log_variance.abs().max() <= 10
    x = torch.tensor([-100.0, 0.0, 100.0], requires_grad=True)
    y = bounded(x, -7, 1)
    y.sum().backward()
    assert y.tolist() == pytest.approx([-7, -3, 1])
    assert x.grad[1] == pytest.approx(1)


def test_sides_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="multiples of 8 pixels, got 12 x 16"):
        tiny("light").complete(photos(1, 12, 16), cells(1, 12, 16))
    with pytest.raises(ValueError, match=r"vae\.log_variance"):
        PaperVAE(log_variance=(1, -7))


@pytest.fixture(params=["mean", "sample"])
def infiller(request):
    return VaeInfiller(tiny("light"), weights=None, predict=request.param, rows_per_pass=2)


@pytest.mark.parametrize("shrink", [2, 4])
def test_no_dropped_pixel_leaks_at_a_lower_resolution(shrink):
    infiller = VaeInfiller(tiny("light"), weights=None, shrink=shrink)
    torch.nn.init.normal_(infiller.network.predict.weight, std=0.1)
    image, keep = photos(2), cells(2)
    other = torch.where(keep == 1, image, 1 - image)
    assert torch.equal(infiller.infill(image, keep), infiller.infill(other, keep))
    assert not torch.equal(infiller.infill(image, keep), infiller.infill(1 - image, keep))


def noise_of(infiller, ids):
    return ImageNoise(0, ids, "infill") if infiller.needs_noise else None


@pytest.mark.parametrize("size", [(32, 48), (37, 45)])
def test_contract(infiller, size):
    image, keep = photos(2, *size), cells(6, *size)
    infill = infiller.infill(image, keep, noise_of(infiller, "ab"))
    assert infill.shape == (6, 3, *size)
    assert infill.min() >= 0
    assert infill.max() <= 1
    alone = infiller.infill(image[1:], keep[3:], noise_of(infiller, "b"))
    torch.testing.assert_close(infill[3:], alone, rtol=0, atol=1e-5)
    rows = image.repeat_interleave(3, 0)
    kept = keep == 1
    for row in range(6):
        other = torch.where(kept[row], rows[row], 1 - rows[row])[None]
        again = infiller.infill(other, keep[row : row + 1], noise_of(infiller, "x"))
        before = infiller.infill(rows[row : row + 1], keep[row : row + 1], noise_of(infiller, "x"))
        assert torch.equal(again, before)


def test_samples_differ_by_draw_and_the_mean_does_not():
    image, keep = photos(1), cells(1).expand(2, 1, 32, 32)
    sampling = VaeInfiller(tiny("light"), weights=None, predict="sample")
    first, second = sampling.infill(image, keep, noise_of(sampling, "a"))
    assert not torch.allclose(first, second, atol=1e-4)
    first, second = VaeInfiller(tiny("light"), weights=None).infill(image, keep)
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match="noise"):
        sampling.infill(image, keep)


def test_samples_deviate_from_the_mean_by_the_predicted_variance():
    """The whole of what the network is unsure of, not the spread of its latent alone."""
    torch.manual_seed(0)
    net = ResidualVAE((8, 8, 16), latent=6, dilations=(1,), head=8, log_variance=(-9, -7))
    nn.init.normal_(net.predict.weight, std=0.05)
    image, keep = 0.3 + 0.4 * photos(1), cells(1)
    told = net.eval().complete(image, keep)
    # A latent without spread leaves the pixels' variance alone.
    for layer in net.enter.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    told = net.complete(image, keep)
    # Kept pixels, too, so that all of them can be compared.
    options = {"predict": "sample", "correlation": 4, "reconstruct": True}
    sampling = VaeInfiller(net, weights=None, **options)
    rows = sampling.infill(image, keep.expand(600, 1, 32, 32), noise_of(sampling, "a"))
    deviation = torch.exp(told.log_variance / 2)
    torch.testing.assert_close(rows.std(0), deviation[0], rtol=0.2, atol=0)
    torch.testing.assert_close(rows.mean(0), told.mean[0], rtol=0, atol=0.01)
    a, b = (rows - told.mean)[:, 0, 8, 8], (rows - told.mean)[:, 0, 8, 9]
    assert torch.corrcoef(torch.stack([a, b]))[0, 1] > 0.7


def test_it_stays_in_evaluation_mode():
    infiller = VaeInfiller(tiny("paper"), weights=None, shrink=1).train()
    before = infiller.infill(photos(), cells())
    assert torch.equal(before, infiller.infill(photos(), cells()))
    assert not any(module.training for module in infiller.modules())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("predict", "mode"),
        ("correlation", 0),
        ("shrink", 0.5),
        ("precision", "half"),
        ("rows_per_pass", 0),
    ],
)
def test_bad_options_are_named(option, value):
    with pytest.raises(ValueError, match=rf"infiller\.{option}"):
        VaeInfiller(tiny("light"), weights=None, **{option: value})


def test_the_configuration_builds_it():
    with initialize_config_dir(CONF, version_base=None):
        config = compose("infiller/vae", overrides=["infiller.weights=null"]).infiller
    infiller = instantiate(config, _convert_="all")
    # Untrained it is the prefill, so an image of one colour is filled with it.
    image = torch.tensor([0.2, 0.5, 0.9]).view(1, 3, 1, 1).expand(1, 3, 224, 224)
    keep = cells(1, 224, 224)
    assert torch.allclose(infiller.infill(image, keep), image, atol=1e-5)


def test_the_shipped_weights_beat_simple_fills_on_the_sample_photos():
    with initialize_config_dir(CONF, version_base=None):
        shipped = instantiate(compose("infiller/vae").infiller, _convert_="all")
    source = SamplePhotos(size=(224, 224))
    image = torch.stack([source.load(entry).image for entry in source.selected()])
    for side, rate in [(4, 0.3), (4, 0.5), (16, 0.5)]:
        cells = BernoulliCells((side,), (rate, rate))
        keep = cells.sample(len(image), (224, 224), torch.Generator().manual_seed(0)).float()
        vae = hole_l1_loss(shipped.infill(image, keep), image, keep)
        for other in (MeanInfiller(), LocalInfiller()):
            assert vae < 0.95 * hole_l1_loss(other.infill(image, keep), image, keep)
