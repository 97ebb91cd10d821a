"""PSNR of a denoiser on held-out photos at four noise levels, beside wavelet denoising.

    python benchmarks/denoising.py FOLDER [--weights ema.safetensors] [--held-out 1000]

FOLDER and --held-out are those of the training, so that the photos are those it never saw. Wavelets
are scikit-image's with BayesShrink and the true noise: Haar as it comes, and the best on average of
eight ways at every noise level (Haar or db2, in RGB or YCbCr, with or without averaging over
shifts). Needs PyWavelets.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from skimage.restoration import cycle_spin, denoise_wavelet
from torch import Tensor

from fido.data.folder import FolderPhotos
from fido.diffusion.denoisers.trained import TrainedDenoiser
from fido.diffusion.schedule import add_noise
from fido.runtime.noise import ImageNoise
from fido.training.conditional_photos import ConditionalPhotos
from fido.training.diffusion import psnr

LEAF = Path(__file__).parents[1] / "conf" / "denoiser" / "natural64.yaml"
LEVELS = (0.95, 0.86, 0.77, 0.55)
"""sqrt(alpha_bar)."""


def held_out_photos(options: argparse.Namespace, cache: str) -> ConditionalPhotos:
    """The photos as `train.py model=diffusion` makes them ready, all that it held out."""
    source = FolderPhotos(path=options.folder, size=(options.size, options.size))
    return ConditionalPhotos(
        source,
        labels="prefix",
        image_size=options.size * 9 // 8,
        cache=cache,
        crop=options.size,
        batch_size=1,
        held_out=options.held_out,
        validate_on=options.images,
    )


def wavelets(noisy: Tensor, sigma: float) -> dict[str, Tensor]:
    """Denoised images, by the way of denoising; the first is the plainest.

    Args:
        noisy: (n, 3, h, w), noise added to [0, 1].
        sigma: Standard deviation of the noise.
    """
    denoised = {}
    for wavelet in ("db1", "db2"):
        for ycbcr in (False, True):
            for shifts in (0, 3):
                way: Callable[[np.ndarray], np.ndarray] = partial(
                    denoise_wavelet,
                    sigma=sigma,
                    wavelet=wavelet,
                    method="BayesShrink",
                    convert2ycbcr=ycbcr,
                    channel_axis=-1,
                    rescale_sigma=False,
                )
                if shifts:
                    way = partial(
                        cycle_spin, func=way, max_shifts=shifts, num_workers=1, channel_axis=-1
                    )
                name = f"{wavelet}{' YCbCr' if ycbcr else ''}{' shifted' if shifts else ''}"
                pixels = noisy.permute(0, 2, 3, 1).double().numpy()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # colours outside of [0, 1]
                    found = np.stack([way(image) for image in pixels])
                denoised[name] = torch.from_numpy(found).float().permute(0, 3, 1, 2)
    return denoised


def difference(found: Tensor, reference: Tensor) -> str:
    """Mean of the paired differences with its 95 % interval."""
    gain = found - reference
    mean, half = float(gain.mean()), 1.96 * float(gain.std()) / math.sqrt(len(gain))
    return f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}]"


def report(denoiser: TrainedDenoiser, photos: ConditionalPhotos, level: float, seed: int) -> None:
    """Print the numbers of one noise level, `sqrt(alpha_bar)`."""
    images, classes = photos.validation_images
    ids = [str(index) for index in range(len(images))]
    noise = ImageNoise(seed, ids, f"noise {level}").normal(1, *images.shape[1:])
    x_t = add_noise(denoiser.encode(images), level**2, noise)
    rescaled = x_t / level / 2 + 0.5
    sigma = math.sqrt(1 - level**2) / level / 2
    ways = {way: psnr(found, images) for way, found in wavelets(rescaled, sigma).items()}
    plain, best = next(iter(ways)), max(ways, key=lambda way: float(ways[way].mean()))
    print(f"sqrt(alpha_bar) {level}: noisy {float(psnr(rescaled, images).mean()):.2f} dB")
    print(f"  wavelets ({plain}) {float(ways[plain].mean()):.2f}")
    print(f"  best wavelets ({best}) {float(ways[best].mean()):.2f}")
    hidden = torch.full_like(classes, -1)
    for name, told in (("no class", hidden), ("true class", denoiser.labels[classes])):
        parts = zip(torch.split(x_t, 32), torch.split(told, 32), strict=True)
        x0 = torch.cat([denoiser.x0(noisy, level**2, part) for noisy, part in parts])
        found = psnr(denoiser.decode(x0), images)
        print(f"  network, {name} {float(found.mean()):.2f}:", end=" ")
        print(f"to wavelets {difference(found, ways[plain])}", end=", ")
        print(f"to the best {difference(found, ways[best])}")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="photos that the denoiser was trained on")
    parser.add_argument("--weights", default="natural64", help="a name or a .safetensors file")
    parser.add_argument("--held-out", type=int, default=1000, help="as in the training")
    parser.add_argument("--images", type=int, default=200, help="of the held-out photos")
    parser.add_argument("--size", type=int, default=64, help="px")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    options = parser.parse_args()
    leaf = OmegaConf.load(LEAF)
    leaf.weights = options.weights
    denoiser: TrainedDenoiser = instantiate(leaf, _convert_="all")
    with tempfile.TemporaryDirectory() as cache:
        photos = held_out_photos(options, cache)
    print(f"{len(photos.validation_images.images)} photos, mean PSNR;", end=" ")
    print("differences paired by photo, with 95 % intervals")
    for level in LEVELS:
        report(denoiser, photos, level, options.seed)


if __name__ == "__main__":
    main()
