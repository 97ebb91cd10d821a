"""The pipeline tests run where the extra `diffusers` is installed."""

import importlib.util
import json

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fido.infillers.diffusers_inpaint import DiffusersInfiller
from fido.runtime.noise import ImageNoise

installed = importlib.util.find_spec("diffusers") is not None


def test_leaf_without_weights_names_the_file():
    leaf = OmegaConf.load("conf/infiller/diffusers.yaml")
    with pytest.raises(Exception, match=r"model_index\.json") as caught:
        instantiate(leaf)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(FileNotFoundError, match="hub"):
        DiffusersInfiller()


@pytest.mark.parametrize("name", ["trust_remote_code", "custom_pipeline", "use_safetensors"])
def test_code_and_pickles_are_refused(name):
    with pytest.raises(ValueError, match=f"must not set {name}"):
        DiffusersInfiller("somewhere", loading={name: True})


@pytest.mark.skipif(installed, reason="diffusers is installed")
def test_says_what_to_install():
    with pytest.raises(ImportError, match=r"fido-xai\[diffusers\]"):
        DiffusersInfiller("somewhere")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Stable Diffusion inpainting pipeline of 1.6 M random weights."""
    diffusers = pytest.importorskip("diffusers", reason="the extra diffusers is not installed")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("pipeline")
    (path / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1}))
    (path / "merges.txt").write_text("#version: 0.2\n")
    text = transformers.CLIPTextConfig(
        bos_token_id=0, eos_token_id=1, pad_token_id=1, hidden_size=32, intermediate_size=37,
        num_attention_heads=4, num_hidden_layers=1, vocab_size=10,
    )  # fmt: skip
    pipeline = diffusers.StableDiffusionInpaintPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(32, 32),
            down_block_types=["DownEncoderBlock2D"] * 2,
            up_block_types=["UpDecoderBlock2D"] * 2,
        ),
        text_encoder=transformers.CLIPTextModel(text),
        tokenizer=transformers.CLIPTokenizer(
            str(path / "vocab.json"), str(path / "merges.txt"), model_max_length=77
        ),
        unet=diffusers.UNet2DConditionModel(
            block_out_channels=(32, 32), layers_per_block=1, in_channels=9, out_channels=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=32, attention_head_dim=8, sample_size=64,
        ),
        scheduler=diffusers.DDIMScheduler(steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(path / "model", safe_serialization=True)
    return path / "model"


@pytest.fixture(scope="module")
def infiller(folder):
    return DiffusersInfiller(str(folder), steps=2, resolution=32, rows_per_pass=4)


def photo():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 24, 24, generator=generator)
    return image, (torch.rand(6, 1, 24, 24, generator=generator) > 0.5).float()


def noise(*ids):
    return ImageNoise(0, ids, "infill")


def test_fill_depends_on_its_image_and_kept_pixels_only(infiller):
    image, keep = photo()
    filled = infiller.infill(image, keep, noise("a", "b"))
    assert filled.shape == (6, 3, 24, 24)
    assert 0 <= float(filled.min()) < float(filled.max()) <= 1
    assert float((filled[3] - filled[4]).abs().max()) > 0.01  # a seed of its own for every mask
    alone = infiller.infill(image[1:], keep[3:], noise("b"))
    assert torch.allclose(alone, filled[3:], atol=1e-4)
    changed = torch.where(keep[::3] == 1, image, 1 - image)
    assert torch.equal(
        infiller.infill(changed, keep[::3], noise("a", "b")),
        infiller.infill(image, keep[::3], noise("a", "b")),
    )


def test_the_hole_reaches_the_network_as_ones(infiller):
    keep = torch.ones(1, 1, 32, 32)
    keep[..., :16] = 0
    seen = []
    hook = infiller.pipeline.unet.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0][:, 4])
    )
    infiller.infill(torch.rand(1, 3, 32, 32), keep, noise("a"))
    hook.remove()
    assert torch.equal(seen[0][..., :8].mean(), torch.tensor(1.0))
    assert torch.equal(seen[0][..., 8:].mean(), torch.tensor(0.0))


def test_noise_is_required(infiller):
    assert infiller.needs_noise
    with pytest.raises(ValueError, match="give it noise"):
        infiller.infill(*photo())
