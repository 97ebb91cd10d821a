import base64
import hashlib
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_process
from configurations import command_config
from PIL import Image
from safetensors.torch import load_file
from small_training import StopAt, Stopped, fit, stripes
from torch.distributions import Normal, kl_divergence
from wandb_offline import read_run

from fido.loggers.wandb import WandbRunLogger
from fido.masks.distributions.bernoulli import BernoulliCells
from fido.networks.inpainting_vae import PaperVAE, ResidualVAE
from fido.networks.push_pull import push_pull
from fido.training.inpainting_vae import VaeTraining, gaussian_nll, standard_kl
from fido.training.validation_grid import ValidationGrid

ROOT = Path(__file__).resolve().parents[2]
LIGHT = partial(ResidualVAE, patch=2)


def module(steps=10, network=LIGHT, **options):
    torch.manual_seed(0)
    given = {"shrink": 1, "learning_rate": 3e-3, "warmup": 5, "ema_decay": 0.9}
    return VaeTraining(
        network=network((16, 16, 16), latent=8, dilations=(1,), head=16),
        batches=lambda step: stripes(8, step),
        hole_masks=BernoulliCells(sides=(4, 8), keep=(0.3, 0.7)),
        validation_images=stripes(8, 10_000),
        validation_masks={"cells": BernoulliCells(sides=(8,), keep=(0.5, 0.5))},
        steps=steps,
        **(given | options),
    )


def test_likelihood_and_divergence_are_those_of_torch():
    x, mean, log_variance = torch.randn(3, 50)
    normal = Normal(mean, (log_variance / 2).exp())
    constant = 0.5 * torch.log(torch.tensor(2 * torch.pi))
    torch.testing.assert_close(gaussian_nll(x, mean, log_variance) + constant, -normal.log_prob(x))
    torch.testing.assert_close(
        standard_kl(mean, log_variance), kl_divergence(normal, Normal(0.0, 1.0))
    )


def test_at_full_resolution_the_loss_is_the_papers_and_the_absolute_errors():
    trained = module(kl_weight=0.3, l1_weight=2.0)
    torch.nn.init.normal_(trained.network.predict.weight, std=0.1)
    image, keep = stripes(3, 0), (torch.rand(3, 1, 32, 32) < 0.6).float()
    noise = torch.randn(3, *trained.network.latent_shape(32, 32))
    told = trained.network.complete(image, keep, noise)
    nll, l1, dropped = 0.0, 0.0, 0
    for row, y, x in (keep[:, 0] == 0).nonzero().tolist():
        dropped += 3
        for colour in range(3):
            place = (row, colour, y, x)
            spread = told.log_variance[place]
            nll += 0.5 * (spread + (image[place] - told.mean[place]) ** 2 / spread.exp())
            l1 += (image[place] - told.mean[place]).abs()
    kl = standard_kl(told.latent_mean, told.latent_log_variance).sum()
    terms = trained.loss_terms(image, keep, noise, (1 - keep).sum())
    loss = nll + 0.3 * kl + 2.0 * l1
    torch.testing.assert_close(terms["loss"], loss / dropped, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms["nll"], nll / dropped, rtol=1e-4, atol=1e-5)


def test_shrunk_it_must_say_the_average_of_the_dropped_pixels():
    trained = module(shrink=2, kl_weight=0.0)
    image, keep = stripes(2, 0), torch.ones(2, 1, 32, 32)
    keep[..., 8, 8] = 0  # a quarter of a cell
    keep[..., 16:18, 16:18] = 0  # a whole one
    noise = torch.zeros(2, *trained.network.latent_shape(16, 16))
    total = torch.tensor(2 * 1.25)
    l1 = trained.loss_terms(image, keep, noise, total)["hole_l1"]
    cells = torch.nn.functional.avg_pool2d(image * keep, 2)
    cells = cells / torch.nn.functional.avg_pool2d(keep, 2).clamp_min(1e-9)
    kept = (torch.nn.functional.avg_pool2d(keep, 2) > 0).float()
    proposal = push_pull(cells, kept, 4.0, 4)
    one = (proposal[:, :, 4, 4] - image[:, :, 8, 8]).abs().sum()
    four = (proposal[:, :, 8, 8] - image[:, :, 16:18, 16:18].mean((2, 3))).abs().sum()
    torch.testing.assert_close(l1, (one / 4 + four) / (3 * total), rtol=1e-4, atol=1e-5)


def test_the_gradient_does_not_depend_on_the_workers():
    image, keep = stripes(6, 0), (torch.rand(6, 1, 32, 32) < 0.5).float()
    results = []
    for workers in (1, 2, 3):
        trained = module(workers=workers)
        trained.log = lambda *args, **kwargs: None
        torch.manual_seed(1)
        torch.nn.init.normal_(trained.network.predict.weight, std=0.1)
        results.append(trained.gradients(image, keep, 0))
    for gradients in results[1:]:
        for gradient, expected in zip(gradients, results[0], strict=True):
            assert torch.allclose(gradient, expected, atol=1e-5, rtol=1e-3)


def test_training_beats_the_prefill_it_starts_from(tmp_path):
    trained = fit(tmp_path, module(150), 150)
    assert trained.evaluate(trained.fill)["cells"] < 0.6 * trained.evaluate(push_pull)["cells"]


@pytest.mark.parametrize("network", [LIGHT, PaperVAE], ids=["light", "paper"])
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, network):
    whole = fit(tmp_path / "whole", module(10, network=network), 10)
    with pytest.raises((Stopped, SystemExit)):
        fit(tmp_path / "parts", module(10, network=network), 10, StopAt(5))
    resumed = fit(tmp_path / "parts", module(10, network=network), 10)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    exported = load_file(tmp_path / "parts" / "ema.safetensors")
    assert all(torch.equal(value, exported[key]) for key, value in whole.ema.state_dict().items())
    statistics = dict(whole.ema.named_buffers())
    assert all(torch.equal(statistics[k], v) for k, v in whole.network.named_buffers())


def test_the_picture_shows_images_what_was_kept_and_what_was_filled(tmp_path):
    trained = fit(tmp_path, module(4), 4, ValidationGrid(tmp_path, images=3, masks=["cells"]))
    with Image.open(tmp_path / "infills" / "0000004.png") as file:
        picture = np.asarray(file).reshape(3, 32, 3, 32, 3).transpose(0, 2, 1, 3, 4)
    image = trained.validation_images[:3].mul(255).round().permute(0, 2, 3, 1).numpy()
    assert np.array_equal(picture[0], image)
    cells = trained.validation_masks["cells"]
    keep = trained.masks(cells, trained.validation_images, "validation cells")[:3, 0].numpy() == 1
    assert np.array_equal(picture[1][keep], image[keep])
    assert (picture[1][~keep] == 128).all()
    assert np.array_equal(picture[2][keep], image[keep])
    filled = trained.fill(trained.validation_images[:3], torch.from_numpy(keep)[:, None].float())
    wanted = filled.detach().clamp(0, 1).mul(255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(picture[2][~keep] - wanted[~keep]).max() <= 1
    with pytest.raises(ValueError, match="unknown"):
        ValidationGrid(tmp_path, images=3, masks=["unknown"]).picture(trained, torch.device("cpu"))


def test_bad_settings_are_named():
    for option, value in [("shrink", 0), ("kl_weight", -1.0), ("l1_weight", -1.0)]:
        with pytest.raises(ValueError, match=rf"training\.{option}"):
            module(**{option: value})


def test_wandb_is_offline_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    for key in (None, "k" * 40):
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        if key is not None:
            monkeypatch.setenv("WANDB_API_KEY", key)
        assert WandbRunLogger(str(tmp_path), {}).lightning()._offline
    assert not WandbRunLogger(str(tmp_path), {}, mode="online").lightning()._offline
    with pytest.raises(ValueError, match=r"logger\.mode"):
        WandbRunLogger(str(tmp_path), {}, mode="maybe")


def test_the_command_logs_losses_laws_and_pictures(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HYDRA"))}
    command = [
        *(sys.executable, "train_vae.py", f"output_dir={tmp_path / 'out'}", "threads=1"),
        *("epochs=0", "least_steps=40", "least_epoch=20", "photos.image_size=64"),
        *("photos.crops=[[32,2],[64,2]]", "vae.channels=[8,8,8]", "training.warmup=5"),
        *("grid.images=2", "grid.masks=[cells56_50,box]", "logger.log_model=true"),
    ]
    done = warm_process.run(command, ROOT, {**clean, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    run = read_run(tmp_path / "out")
    assert run["exit_code"] == 0
    logged = {key for step in run["history"] for key in step}
    names = command_config("train", "model=vae").validation_masks
    assert logged >= {"train/loss", "train/kl", "train/nll", "train/hole_l1", "infills"}
    assert logged >= {f"val/{name}" for name in names}
    # Before the first step and after each of two epochs.
    assert len(list((run["folder"] / "files/media/images").glob("infills*.png"))) == 3
    assert len(list((tmp_path / "out" / "infills").glob("*.png"))) == 3
    weights = (tmp_path / "out" / "ema.safetensors").read_bytes()
    (model,) = [artifact for artifact in run["artifacts"] if artifact.type == "model"]
    assert model.name == "model-out"
    assert [(entry.path, entry.size) for entry in model.manifest.contents] == [
        ("ema.safetensors", len(weights))
    ]
    digest = base64.b64encode(hashlib.md5(weights).digest()).decode()
    assert model.manifest.contents[0].digest == digest


@pytest.mark.slow
def test_the_command_stops_on_sigterm_and_goes_on_exactly(tmp_path):
    def command(output):
        return [
            *(sys.executable, "train_vae.py", f"output_dir={tmp_path / output}", "threads=1"),
            *("epochs=1", "least_steps=400", "logger=csv", "photos.image_size=64"),
            *("photos.crops=[[32,2],[64,2]]", "vae.channels=[8,8,8]", "training.warmup=5"),
        ]

    subprocess.run(command("whole"), cwd=ROOT, check=True)
    first = subprocess.Popen(command("parts"), cwd=ROOT)
    while not (tmp_path / "parts" / "infills" / "0000100.png").exists():
        assert first.poll() is None, "the training ended before it could be stopped"
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGTERM)
    first.wait(timeout=60)
    checkpoint = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert 100 <= checkpoint["global_step"] < 400
    subprocess.run(command("parts"), cwd=ROOT, check=True)
    whole, parts = (load_file(tmp_path / x / "ema.safetensors") for x in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    assert list((tmp_path / "whole" / "infills").glob("*.png"))
