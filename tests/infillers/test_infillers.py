import pytest
import torch

from fido.infillers.base import Infiller
from fido.infillers.blur import BlurInfiller
from fido.infillers.filters import gaussian_blur
from fido.infillers.local import LocalInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.runtime.noise import ImageNoise

SIMPLE = [MeanInfiller(), BlurInfiller(), RandomInfiller(), LocalInfiller()]


def noise_of(infiller: Infiller, ids=("a", "b")):
    return ImageNoise(0, ids, "infill") if infiller.needs_noise else None


@pytest.fixture
def image():
    return torch.rand(2, 3, 24, 31, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def keep():
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(6, 1, 24, 31, generator=generator) > 0.5).float()


@pytest.mark.parametrize("infiller", SIMPLE, ids=lambda i: type(i).__name__)
def test_contract(infiller, image, keep):
    infill = infiller.infill(image, keep, noise_of(infiller))
    assert infill.shape == (6, 3, 24, 31)
    assert infill.min() >= 0
    assert infill.max() <= 1
    assert not infill.requires_grad
    alone = infiller.infill(image[1:], keep[3:], noise_of(infiller, ("b",)))
    torch.testing.assert_close(infill[3:], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("infiller", SIMPLE, ids=lambda i: type(i).__name__)
def test_wrong_shapes_are_named(infiller, image):
    with pytest.raises(ValueError, match="keep must be"):
        infiller.infill(image, torch.ones(3, 1, 24, 31), noise_of(infiller))


def test_local_is_the_mean_of_kept_pixels_in_the_window(image, keep):
    infiller = LocalInfiller(window=5)
    infill = infiller.infill(image, keep)
    for row, y, x in [(0, 0, 0), (1, 12, 15), (4, 23, 30), (5, 3, 29)]:
        top, left = max(0, y - 2), max(0, x - 2)
        kept = keep[row, 0, top : y + 3, left : x + 3].bool()
        patch = image[row // 3, :, top : y + 3, left : x + 3]
        torch.testing.assert_close(infill[row, :, y, x], patch[:, kept].mean(1))


def test_local_falls_back_to_the_colour_where_nothing_is_kept(image):
    infiller = LocalInfiller(window=5, colour=(0.1, 0.2, 0.3))
    keep = torch.zeros(2, 1, 24, 31)
    keep[..., 0, 0] = 1
    infill = infiller.infill(image, keep)
    torch.testing.assert_close(infill[1, :, 20, 20], torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(infill[1, :, 2, 2], image[1, :, 0, 0])


def test_local_does_not_look_at_dropped_pixels(image, keep):
    infiller = LocalInfiller()
    seen = image.repeat_interleave(3, 0)
    changed = torch.where(keep.bool(), seen, torch.rand_like(seen))
    before = infiller.infill(seen, keep)
    torch.testing.assert_close(infiller.infill(changed, keep), before, rtol=0, atol=0)


def test_blur_agrees_with_a_dense_gaussian_in_scipy(image):
    from scipy.ndimage import gaussian_filter

    blurred = gaussian_blur(image, 2.0)
    for c in range(3):
        expected = gaussian_filter(image[0, c].double().numpy(), 2.0, mode="mirror", truncate=4.0)
        torch.testing.assert_close(
            blurred[0, c].double(), torch.from_numpy(expected), atol=1e-5, rtol=0
        )


def test_blur_works_on_images_smaller_than_its_kernel():
    image = torch.rand(1, 3, 12, 9)
    infill = BlurInfiller(10.0).infill(image, torch.zeros(1, 1, 12, 9))
    assert infill.std() < image.std() / 3


def test_random_has_the_stated_law_and_fresh_draws():
    image, keep = torch.zeros(1, 3, 64, 64), torch.zeros(200, 1, 64, 64)
    infiller = RandomInfiller(sigma=0.05, colour=0.5)
    infill = infiller.infill(image, keep, ImageNoise(0, ["a"], "infill"))
    assert infill.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert infill.std().item() == pytest.approx(0.05, rel=1e-2)
    assert not torch.equal(infill[0], infill[1])
    colours = RandomInfiller(sigma=0.0).infill(image, keep, ImageNoise(0, ["a"], "infill"))
    assert colours.flatten(2).std(2).max() == 0
    assert colours[:, :, 0, 0].mean().item() == pytest.approx(0.5, abs=0.05)


def test_random_without_noise_says_so(image, keep):
    with pytest.raises(ValueError, match="noise"):
        RandomInfiller().infill(image, keep)
