"""Folders that diffusers itself wrote, as denoisers."""

import importlib.util
import json

import pytest
import torch

from fido.diffusion.denoisers.diffusers_folder import DiffusersDenoiser
from fido.diffusion.schedule import add_noise

pytest.importorskip("diffusers")
from diffusers import DDIMScheduler, DDPMPipeline, DDPMScheduler, UNet2DModel


def network(**changes):
    torch.manual_seed(0)
    settings = {
        "sample_size": 16,
        "block_out_channels": (32, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
    }
    return UNet2DModel(**settings | changes).eval()


def saved(folder, unet=None, **schedule):
    unet, scheduler = unet or network(), DDPMScheduler(**schedule)
    DDPMPipeline(unet, scheduler).save_pretrained(folder)
    return unet, scheduler


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_the_estimate_is_that_of_diffusers(tmp_path, prediction):
    schedule = {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False}
    unet, scheduler = saved(tmp_path, prediction_type=prediction, **schedule)
    denoiser = DiffusersDenoiser(tmp_path)
    assert denoiser.size == (16, 16)
    x = torch.randn(2, 3, 16, 16)
    for step in (3, 500):
        with torch.no_grad():
            output = unet(x, step).sample
            found = denoiser.x0(x, float(scheduler.alphas_cumprod[step]))
        expected = scheduler.step(output, step, x).pred_original_sample
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_a_step_a_row_and_gradients_to_the_image(tmp_path):
    saved(tmp_path)
    denoiser = DiffusersDenoiser(tmp_path, size=(8, 24))
    x = torch.randn(2, 3, 8, 24, requires_grad=True)
    levels = torch.tensor([0.3, 0.9])
    together = denoiser.noise(x, levels)
    for row in range(2):
        alone = denoiser.noise(x[row : row + 1], float(levels[row]))
        torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-5)
    (gradient,) = torch.autograd.grad(together.sum(), x)
    assert gradient.isfinite().all()
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())


def test_classes_are_the_classifiers_indices_and_the_last_is_none(tmp_path):
    unet, _ = saved(tmp_path, network(num_class_embeds=3))
    denoiser = DiffusersDenoiser(tmp_path, labels=[574, 7])
    assert denoiser.knows(torch.tensor([7, 574, 3])).tolist() == [True, True, False]
    x = add_noise(torch.zeros(3, 3, 16, 16), 0.5, torch.randn(3, 3, 16, 16))
    step = int((denoiser.schedule - 0.5).abs().argmin())
    with torch.no_grad():
        found = denoiser.noise(x, 0.5, torch.tensor([7, 574, 3]))
        expected = unet(x, step, class_labels=torch.tensor([1, 0, 2])).sample
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(denoiser.noise(x, 0.5)[2], expected[2])
    with pytest.raises(ValueError, match="must name 3 classes"):
        DiffusersDenoiser(tmp_path, labels=[1])


def test_a_network_beside_its_scheduler_is_enough(tmp_path):
    network().save_pretrained(tmp_path)
    DDIMScheduler(beta_start=0.001).save_pretrained(tmp_path)
    denoiser = DiffusersDenoiser(tmp_path)
    assert float(denoiser.schedule[0]) == pytest.approx(0.999)


def test_other_folders_are_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="weights=FOLDER"):
        DiffusersDenoiser()
    with pytest.raises(FileNotFoundError, match="scheduler_config"):
        DiffusersDenoiser(tmp_path / "nothing")
    saved(tmp_path / "grey", network(in_channels=1, out_channels=1))
    with pytest.raises(ValueError, match="says 1 and 1"):
        DiffusersDenoiser(tmp_path / "grey")
    saved(tmp_path / "flow")
    path = tmp_path / "flow" / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "flow"}))
    with pytest.raises(ValueError, match="prediction_type must be one of"):
        DiffusersDenoiser(tmp_path / "flow")
    path = tmp_path / "flow" / "unet" / "config.json"
    path.write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))
    with pytest.raises(ValueError, match="UNet2DModel is needed"):
        DiffusersDenoiser(tmp_path / "flow")
    (tmp_path / "grey" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="no readable"):
        DiffusersDenoiser(tmp_path / "grey")


def test_without_diffusers_it_says_what_to_install(tmp_path, monkeypatch):
    saved(tmp_path)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "diffusers" else find(name)
    )
    with pytest.raises(ImportError, match="pip install 'fido-xai"):
        DiffusersDenoiser(tmp_path)
