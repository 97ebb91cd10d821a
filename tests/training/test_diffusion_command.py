"""`train.py model=diffusion` as a user calls it, and the denoiser that loads what it wrote."""

import csv
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_process
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

from fido.classifiers.imagenet_names import imagenet_names
from fido.diffusion.denoisers.empirical import EmpiricalDenoiser

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A finished training of four steps on photos of two classes, stopped and continued once."""
    folder = tmp_path_factory.mktemp("training")
    generator = np.random.default_rng(0)
    for name in ("dog_1", "dog_2", "dog_3", "cat_1", "cat_2", "cat_3"):
        pixels = generator.integers(0, 256, (80, 90, 3), dtype=np.uint8)
        path = folder / "photos" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    for steps in (2, 4):
        command = [
            *(sys.executable, "train.py", "model=diffusion", "data=folder"),
            *(f"data.path={folder / 'photos'}", f"output_dir={folder / 'out'}", "logger=csv"),
            *("photos.class_minimum=2", "photos.held_out=2", "photos.batch_size=2"),
            *(f"steps={steps}", "trainer.val_check_interval=2", "trainer.log_every_n_steps=1"),
        ]
        warm_process.run(command, ROOT, os.environ).check_returncode()
    return folder


def test_the_command_goes_on_logs_and_draws(training):
    rows = []
    for version in (0, 1):
        with open(training / "out" / "curves" / f"version_{version}" / "metrics.csv") as stream:
            rows.append(list(csv.DictReader(stream)))
    assert [sum(bool(row.get("train/loss")) for row in part) for part in rows] == [2, 2]
    checkpoint = torch.load(training / "out" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4
    measured = [row for row in rows[0] + rows[1] if row.get("val/psnr_0.55")]
    # Before the first step and after every second one.
    assert len(measured) == 3
    for kind in ("psnr", "psnr_class", "loss"):
        for level in (0.95, 0.86, 0.77, 0.55):
            assert all(float(row[f"val/{kind}_{level}"]) > 0 for row in measured)
    drawn = sorted(path.name for path in (training / "out" / "denoised").glob("*.png"))
    assert drawn == ["0000000.png", "0000002.png", "0000004.png"]


def test_the_leaf_of_the_denoiser_fits_what_the_command_writes(training):
    weights = training / "out" / "ema.safetensors"
    leaf = OmegaConf.load(ROOT / "conf" / "denoiser" / "natural64.yaml")
    leaf.weights = str(weights)
    denoiser = instantiate(leaf, _convert_="all")
    for key, value in denoiser.network.state_dict().items():
        assert torch.equal(value, load_file(weights)[key])
    x_t = torch.randn(2, 3, 64, 64)
    assert denoiser.noise(x_t, 0.5, torch.tensor([574, 3])).shape == x_t.shape
    denoiser.name_classes(imagenet_names())
    assert denoiser.knows(torch.tensor([574, 3])).tolist() == [True, False]  # a golf ball, a shark


def test_the_exact_denoiser_takes_the_photos_of_the_data_source(training):
    source = {"_target_": "fido.data.folder.FolderPhotos", "path": str(training / "photos")}
    leaf = OmegaConf.load(ROOT / "conf" / "denoiser" / "empirical.yaml")
    config = OmegaConf.create({"data": {**source, "size": [32, 32]}, "denoiser": leaf})
    denoiser = instantiate(config.denoiser, _convert_="all")
    assert isinstance(denoiser, EmpiricalDenoiser)
    assert denoiser.size == (32, 32)
    assert denoiser.images.shape == (6, 3, 32, 32)
