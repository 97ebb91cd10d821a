import hashlib

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from fido.infillers.lama import LamaInfiller

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning")


class Painter(nn.Module):
    """As big-lama is called: (image, 1 = hole) -> image; paints holes red, and can learn."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        if image.shape[2] % 8 != 0 or image.shape[3] % 8 != 0:
            raise ValueError("sides must be multiples of 8")
        red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
        return torch.where(hole == 1, red, image) + 0 * self.norm(image) + 1e-3


class Gray(nn.Module):
    def forward(self, image: Tensor, hole: Tensor) -> Tensor:
        return hole


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "painter.pt"
    torch.jit.script(Painter().eval()).save(path)
    return path


def photo(h=16, w=24):
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, h, w, generator=generator)
    return image, (torch.rand(6, 1, h, w, generator=generator) > 0.5).float()


@pytest.mark.parametrize(("h", "w"), [(16, 24), (13, 21)])
@pytest.mark.parametrize("rows_per_pass", [None, 4])
def test_holes_are_painted_and_kept_pixels_seen(file, h, w, rows_per_pass):
    image, keep = photo(h, w)
    filled = LamaInfiller(file, rows_per_pass=rows_per_pass).infill(image, keep)
    assert filled.shape == (6, 3, h, w)
    assert float(filled.max()) <= 1
    red = torch.tensor([1.0, 1e-3, 1e-3]).view(1, 3, 1, 1)
    expected = torch.where(keep == 1, image.repeat_interleave(3, dim=0), red).clamp(0, 1)
    assert torch.allclose(filled, expected)


def test_dropped_pixels_are_not_handed_over(file):
    image, keep = photo()
    infiller = LamaInfiller(file, resolution=32)
    changed = torch.where(keep[::3] == 1, image, 1 - image)
    assert torch.equal(infiller.infill(image, keep[::3]), infiller.infill(changed, keep[::3]))


def test_statistics_never_move(file):
    image, keep = photo()
    infiller = LamaInfiller(file).train()
    before = {name: value.clone() for name, value in infiller.state_dict().items()}
    infiller.infill(image, keep)
    assert before
    assert all(torch.equal(value, before[name]) for name, value in infiller.state_dict().items())


def test_digest_is_checked_before_loading(file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    LamaInfiller(file, sha256=digest.upper())
    with pytest.raises(ValueError, match=f"sha256 {digest}.*runs code from the file"):
        LamaInfiller(file, sha256="0" * 64)


def test_leaf_without_weights_names_the_file():
    leaf = OmegaConf.load("conf/infiller/lama.yaml")
    with pytest.raises(Exception, match=r"big-lama\.pt") as caught:
        instantiate(leaf)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="runs code from the file"):
        LamaInfiller()


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.pt does not exist"):
        LamaInfiller(tmp_path / "absent.pt")
    (tmp_path / "text.pt").write_text("not a network")
    with pytest.raises(ValueError, match=r"text\.pt is not a TorchScript file"):
        LamaInfiller(tmp_path / "text.pt")
    torch.jit.script(Gray()).save(tmp_path / "gray.pt")
    image, keep = photo()
    with pytest.raises(ValueError, match=r"answered with \(6, 1, 16, 24\)"):
        LamaInfiller(tmp_path / "gray.pt").infill(image, keep)
