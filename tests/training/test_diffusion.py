import math

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_training import StopAt, Stopped, fit, stripes

from fido.diffusion.schedule import cumulative_alphas, linear_betas
from fido.networks.patched_unet import PatchedUNet
from fido.training.conditional_photos import LabelledImages
from fido.training.denoised_grid import DenoisedGrid
from fido.training.diffusion import DiffusionTraining, psnr

ALPHA_BARS = cumulative_alphas(linear_betas(50, 0.01, 0.2))


def tinted(n, seed):
    """Stripes in two classes: of class 1 the inverse is shown, darker."""
    classes = torch.arange(n) % 2
    images = stripes(n, seed)
    inverse = (classes == 1).view(-1, 1, 1, 1)
    return LabelledImages(torch.where(inverse, 0.4 * (1 - images), images), classes)


def module(steps=10, **options):
    torch.manual_seed(0)
    given = {"learning_rate": 3e-3, "warmup": 5, "ema_decay": 0.9, "levels": (0.9, 0.5)}
    given |= {"batches": lambda step: tinted(8, step), "validation_images": tinted(8, 10_000)}
    return DiffusionTraining(
        network=PatchedUNet(2, (16, 16), 1, 4, 32, groups=4),
        steps=steps,
        alpha_bars=ALPHA_BARS,
        **given | options,
    )


def test_the_loss_of_the_untrained_network_is_about_one():
    """Its target has unit variance if the photos vary as much as the network expects."""
    trained = module()
    values = torch.randn(256, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = 0.5 + 0.55 / 2 * values
    loss = trained.loss(images, torch.zeros(256, dtype=torch.long), "any").detach()
    assert float(loss) == pytest.approx(1, abs=0.05)


def test_classes_are_hidden_as_often_as_said_and_noise_stays_below_the_limit():
    seen = []

    class Listening(PatchedUNet):
        def forward(self, noisy, alpha_bar, classes):
            seen.append((alpha_bar, classes))
            return super().forward(noisy, alpha_bar, classes)

    trained = module(label_dropout=0.25, lowest_alpha_bar=0.3)
    trained.network.__class__ = Listening
    classes = torch.arange(2000) % 3 - 1  # a third without a class
    trained.loss(torch.zeros(2000, 3, 8, 8), classes, "any")
    alpha_bar, told = seen[0]
    assert alpha_bar.min() >= 0.3
    assert len(alpha_bar.unique()) == int((ALPHA_BARS >= 0.3).sum())
    assert (told[classes == -1] == 2).all()
    given = classes >= 0
    hidden = told[given] == 2
    assert float(hidden.float().mean()) == pytest.approx(0.25, abs=0.04)
    assert torch.equal(told[given][~hidden], classes[given][~hidden])


def test_random_numbers_belong_to_seed_and_step():
    images, classes = tinted(8, 0)

    def loss(purpose, **options):
        return float(module(**options).loss(images, classes, purpose))

    assert loss("3") == loss("3")
    assert len({loss("3"), loss("4"), loss("3", seed=1)}) == 3


def test_training_denoises_and_learns_the_classes(tmp_path):
    trained = fit(tmp_path, module(250), 250)
    images, classes = trained.validation_images
    for level in trained.levels:
        noisy = trained.noisy(level)
        before = psnr(noisy / level / 2 + 0.5, images).mean()
        assert psnr(trained.denoise(level, classes), images).mean() > before + 3
    right = psnr(trained.denoise(0.5, classes), images).mean()
    assert right > psnr(trained.denoise(0.5, 1 - classes), images).mean() + 1
    none = psnr(trained.denoise(0.5, torch.full_like(classes, -1)), images).mean()
    assert none > psnr(trained.denoise(0.5, 1 - classes), images).mean()


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, precision):
    whole = fit(tmp_path / "whole", module(10, precision=precision), 10)
    with pytest.raises((Stopped, SystemExit)):
        fit(tmp_path / "parts", module(10, precision=precision), 10, StopAt(5))
    resumed = fit(tmp_path / "parts", module(10, precision=precision), 10)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    exported = load_file(tmp_path / "parts" / "ema.safetensors")
    assert all(torch.equal(value, exported[key]) for key, value in whole.ema.state_dict().items())


def test_the_picture_shows_images_noise_and_what_was_denoised(tmp_path):
    trained = fit(tmp_path, module(4), 4, DenoisedGrid(tmp_path, images=3))
    with Image.open(tmp_path / "denoised" / "0000004.png") as file:
        picture = np.asarray(file).reshape(5, 32, 3, 32, 3).transpose(0, 2, 4, 1, 3)
    images, classes = trained.validation_images
    rows = [images]
    for level in (0.9, 0.5):
        rows += [trained.noisy(level) / 2 + 0.5, trained.denoise(level, classes)]
    for shown, expected in zip(picture, rows, strict=True):
        wanted = expected[:3].clamp(0, 1).mul(255).round().numpy()
        assert np.abs(shown - wanted).max() <= 1


def test_psnr_is_that_of_its_definition():
    image = torch.full((2, 3, 4, 4), 0.5)
    off = image.clone()
    off[0] += 0.1
    off[1, :, :2] += 0.1
    assert psnr(off, image).tolist() == pytest.approx([20, 20 + 10 * math.log10(2)], abs=1e-4)
    # What lies outside of [0, 1] is clamped first.
    assert psnr(torch.full_like(image, 7.0), torch.ones_like(image)).isinf().all()


def test_bad_settings_are_named():
    for option, value in [
        ("label_dropout", 1.5),
        ("levels", [1.0]),
        ("precision", "half"),
        ("lowest_alpha_bar", 1.0),
    ]:
        with pytest.raises(ValueError, match=rf"training\.{option}"):
            module(**{option: value})
    images, _ = tinted(8, 0)
    with pytest.raises(ValueError, match=r"network\.classes is 2"):
        module(validation_images=LabelledImages(images, torch.full((8,), 2)))
