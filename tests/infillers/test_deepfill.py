import pytest
import torch
from deepfill_fixture import fixture, write_snapshot
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fido.infillers.deepfill import DeepFillInfiller
from fido.weights.deepfill import DATA_FILE, convert


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = write_snapshot(tmp_path_factory.mktemp("snapshot"))
    convert(folder, folder / "deepfill.safetensors")
    return folder / "deepfill.safetensors"


@pytest.fixture(scope="module")
def infiller(weights):
    return DeepFillInfiller(weights, release=None, resolution=None)


def photo(b=1, s=1, h=32, w=32):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(b, 3, h, w, generator=generator)
    cells = (torch.rand(b * s, 1, h // 8, w // 8, generator=generator) > 0.3).float()
    return image, torch.nn.functional.interpolate(cells, (h, w))


def test_colours_and_polarity_are_the_authors(infiller):
    rgb = fixture("img").flip(1) / 255
    filled = infiller.infill(rgb, 1 - fixture("mask"))
    expected = torch.where(fixture("mask") == 1, (fixture("x2").flip(1) + 1) / 2, rgb)
    assert float((filled - expected).abs().max()) < 1e-5


def test_leaf_without_weights_names_the_file():
    leaf = OmegaConf.load("conf/infiller/deepfill.yaml")
    with pytest.raises(Exception, match=DATA_FILE) as caught:
        instantiate(leaf)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(FileNotFoundError, match=DATA_FILE):
        DeepFillInfiller()


def test_leaf_with_weights(weights):
    leaf = OmegaConf.load("conf/infiller/deepfill.yaml")
    infiller = instantiate(leaf, weights=str(weights), release=None)
    assert infiller.resolution == 256
    assert not any(p.requires_grad for p in infiller.parameters())


@pytest.mark.parametrize("resolution", [None, 16, 24, 40])
def test_only_kept_pixels_are_read(infiller, weights, resolution):
    infiller = DeepFillInfiller(weights, release=None, resolution=resolution)
    image, keep = photo()
    changed = torch.where(keep == 1, image, 1 - image)
    filled = infiller.infill(image, keep)
    assert filled.shape == image.shape
    assert float(filled.min()) >= 0
    assert float(filled.max()) <= 1
    assert torch.equal(filled, infiller.infill(changed, keep))


def test_rows_belong_to_their_images_whatever_the_chunks(infiller, weights):
    image, keep = photo(b=2, s=3)
    together = infiller.infill(image, keep)
    assert together.shape == (6, 3, 32, 32)
    chunked = DeepFillInfiller(weights, release=None, resolution=None, rows_per_pass=4)
    assert float((chunked.infill(image, keep) - together).abs().max()) < 1e-5
    for row in range(6):
        alone = infiller.infill(image[row // 3 : row // 3 + 1], keep[row : row + 1])
        assert float((together[row] - alone[0]).abs().max()) < 1e-5


def test_any_size(infiller):
    image = torch.rand(1, 3, 29, 37)
    assert infiller.infill(image, torch.ones(2, 1, 29, 37)).shape == (2, 3, 29, 37)


def test_fill_takes_part_in_a_gradient(infiller):
    image, keep = photo()
    soft = keep.clone().requires_grad_()
    torch.lerp(infiller.infill(image, keep), image, soft).sum().backward()
    assert soft.grad is not None


def test_bad_arguments(weights):
    with pytest.raises(ValueError, match=r"infiller\.resolution must be a multiple of 8"):
        DeepFillInfiller(weights, release=None, resolution=100)
    with pytest.raises(ValueError, match=r"infiller\.rows_per_pass must be at least 1"):
        DeepFillInfiller(weights, release=None, rows_per_pass=0)
    with pytest.raises(ValueError, match="keep must be"):
        DeepFillInfiller(weights, release=None).infill(
            torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 16, 16)
        )
