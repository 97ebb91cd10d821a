import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small_training import StopAt, Stopped, fit, stripes

from fido.masks.distributions.bernoulli import BernoulliCells
from fido.networks.contextual_attention import ContextualAttentionNet, push_pull
from fido.training.averaged import warmup_cosine
from fido.training.infiller import InfillerTraining, hole_l1_loss

ROOT = Path(__file__).resolve().parents[2]


def module(steps, learning_rate=3e-3):
    torch.manual_seed(0)
    return InfillerTraining(
        network=ContextualAttentionNet((16, 16, 16), dilations=(1,), attention_after=1),
        batches=lambda step: stripes(8, step),
        hole_masks=BernoulliCells(sides=(4, 8), keep=(0.3, 0.7)),
        validation_images=stripes(8, 10_000),
        validation_masks={"cells": BernoulliCells(sides=(8,), keep=(0.5, 0.5))},
        steps=steps,
        learning_rate=learning_rate,
        warmup=5,
        ema_decay=0.9,
    )


def test_training_beats_the_prefill_it_starts_from(tmp_path):
    trained = fit(tmp_path, module(150), 150)
    before = trained.evaluate(lambda image, keep: push_pull(image, keep, 4.0, 4))["cells"]
    assert trained.evaluate(trained.fill)["cells"] < 0.6 * before


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path):
    whole = fit(tmp_path / "whole", module(12), 12)
    with pytest.raises((Stopped, SystemExit)):
        fit(tmp_path / "parts", module(12), 12, StopAt(5))
    assert (tmp_path / "parts" / "last.ckpt").exists()
    resumed = fit(tmp_path / "parts", module(12), 12)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    exported = load_file(tmp_path / "parts" / "ema.safetensors")
    assert all(torch.equal(value, exported[key]) for key, value in whole.ema.state_dict().items())
    # A finished training does nothing more.
    again = fit(tmp_path / "parts", module(12), 12)
    assert torch.equal(again.ema.stem.weight, whole.ema.stem.weight)


@pytest.mark.slow
def test_the_command_stops_on_sigterm_and_goes_on_exactly(tmp_path):
    for index in range(8):
        noise = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{index}.png")

    def command(output, steps=400):
        return [
            *(
                sys.executable,
                "train.py",
                "model=ca",
                "data=folder",
                f"data.path={tmp_path / 'photos'}",
            ),
            *(f"output_dir={tmp_path / output}", f"steps={steps}", "photos.image_size=32"),
            *("photos.crops=[[16,2],[32,2]]", "training.network.channels=[8,8,8]"),
            *("training.warmup=5", "training.perceptual=null", "trainer.val_check_interval=100"),
            *("logger=csv", "photos.held_out=2"),
        ]

    subprocess.run(command("whole"), cwd=ROOT, check=True)
    first = subprocess.Popen(command("parts"), cwd=ROOT)
    while not list((tmp_path / "parts").glob("curves/*/metrics.csv")):
        assert first.poll() is None, "the training ended before it could be stopped"
        time.sleep(0.1)
    time.sleep(1.0)
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(timeout=60) == 0
    checkpoint = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)
    assert 0 < checkpoint["global_step"] < 400
    subprocess.run(command("parts"), cwd=ROOT, check=True)
    whole, parts = (load_file(tmp_path / x / "ema.safetensors") for x in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_the_gradient_does_not_depend_on_the_workers():
    image, keep = stripes(6, 0), (torch.rand(6, 1, 32, 32) < 0.5).float()
    results = []
    for workers in (1, 2, 3):
        trained = module(10)
        trained.log = lambda *args, **kwargs: None
        trained.workers = workers
        torch.manual_seed(1)
        torch.nn.init.normal_(trained.network.head.weight, std=0.1)
        results.append(trained.gradients(image, keep, 0))
    loss = hole_l1_loss(trained.network(image, keep), image, keep)
    wanted = torch.autograd.grad(loss, list(trained.network.parameters()))
    for gradients in results:
        for gradient, expected in zip(gradients, wanted, strict=True):
            assert torch.allclose(gradient, expected, atol=1e-6, rtol=1e-4)


def test_hole_l1_counts_dropped_pixels_only():
    image = torch.zeros(1, 3, 2, 2)
    keep = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).view(1, 1, 2, 2)
    proposal = torch.tensor([[9.0, 0.2], [0.4, 9.0]]).expand(1, 3, 2, 2)
    assert hole_l1_loss(proposal, image, keep).item() == pytest.approx(0.3)
    assert hole_l1_loss(proposal, image, torch.ones_like(keep)).item() == 0


def test_the_schedule_rises_and_falls():
    rates = [warmup_cosine(step, 10, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
