"""Every learned infiller gives kept pixels back bit for bit, as the 2018 wrapper does."""

import pytest
import torch
from configurations import CONF, explain_config
from deepfill_fixture import write_snapshot

from fido.app.instantiate import build
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import composite
from fido.runtime.noise import ImageNoise

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*deprecated:FutureWarning")
HEURISTIC = ("mean", "blur", "blur_mp", "random", "local")


class Inverts(torch.nn.Module):
    """In the place of big-lama: nothing that it answers is a pixel of the photo."""

    def forward(self, image: torch.Tensor, hole: torch.Tensor) -> torch.Tensor:
        return 0.9 - 0.8 * image + 0 * hole


@pytest.fixture
def weights(tmp_path):
    torch.jit.script(Inverts()).save(tmp_path / "lama.pt")
    return {
        "ca": ["infiller.weights=null", "infiller.rows_per_pass=2"],
        "generative": ["generative_infiller.weights=null"],
        "vae": ["infiller.weights=null"],
        "deepfill": [
            f"infiller.weights={write_snapshot(tmp_path)}",
            "infiller.release=null",
            "infiller.resolution=40",
        ],
        "lama": [f"infiller.weights={tmp_path / 'lama.pt'}", "infiller.sha256=null"],
    }


def photos():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 32, 32, generator=generator)
    cells = (torch.rand(6, 1, 8, 8, generator=generator) > 0.4).float()
    return image, torch.nn.functional.interpolate(cells, (32, 32))


def filled(name, *overrides):
    infiller = build(explain_config(f"infiller={name}", *overrides).infiller)
    image, keep = photos()
    noise = ImageNoise(0, ["a", "b"], "infill") if infiller.needs_noise else None
    return infiller, infiller.infill(image, keep, noise), image.repeat_interleave(3, 0), keep


LEARNED = sorted({path.stem for path in (CONF / "infiller").glob("*.yaml")} - {*HEURISTIC})


# tests/infillers/test_diffusers_inpaint.py has the pipeline that diffusers needs.
@pytest.mark.parametrize("name", [name for name in LEARNED if name != "diffusers"])
def test_kept_pixels_are_the_photo_bit_for_bit(name, weights):
    infiller, fill, image, keep = filled(name, *weights[name])
    kept = keep.expand_as(fill) == 1
    assert infiller.sees_mask
    assert torch.equal(fill[kept], image[kept])
    assert float((fill - image)[~kept].abs().mean()) > 0.05


def test_a_soft_mask_leaks_no_reconstruction_into_kept_pixels(weights):
    """With the raw output FIDO's mix would add (1 - z)(G(x) - x) to pixels that round to kept."""
    _, fill, image, keep = filled("deepfill", *weights["deepfill"])
    soft = 0.2 + 0.7 * keep
    kept = keep.expand_as(fill) == 1
    assert float((composite(image, soft, fill) - image)[kept].abs().max()) < 1e-6


def test_the_vae_of_the_paper_reconstructs_kept_pixels():
    """`preset=fido_vae` is the authors' code, whose VAE is not pasted."""
    random = ("infiller.weights=null", "vae@infiller.network=full")
    torch.manual_seed(0)
    _, fill, image, keep = filled("vae", *random, "infiller.reconstruct=true")
    torch.manual_seed(0)
    _, pasted, _, _ = filled("vae", *random)
    kept = keep.expand_as(fill) == 1
    assert float((fill - image)[kept].abs().mean()) > 0.01
    assert torch.equal(fill[~kept], pasted[~kept])
    assert explain_config("preset=fido_vae").infiller.reconstruct is True


@pytest.mark.parametrize("name", HEURISTIC)
def test_what_does_not_see_the_mask_gives_the_same_under_every_mask(name):
    infiller = build(explain_config(f"infiller={name}").infiller)
    image, keep = photos()

    def fill(mask):
        noise = ImageNoise(0, ["a", "b"], "infill") if infiller.needs_noise else None
        return infiller.infill(image, mask, noise)

    assert torch.equal(fill(keep), fill(1 - keep)) == (not infiller.sees_mask)
    assert infiller.sees_mask == (name == "local")
    assert not (infiller.one_proposal and infiller.sees_mask)
    assert MeanInfiller.one_proposal
