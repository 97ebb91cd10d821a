"""`fido train`: a network's training, composed from its configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig, OmegaConf

from fido.app.instantiate import build
from fido.loggers.wandb import close
from fido.runs.run_settings import SettingsMismatchError, differences
from fido.runtime.files import read_json, write_json
from fido.runtime.memory import keep_freed_memory
from fido.runtime.trainer_environment import own_environment
from fido.training.checkpoint import TrainingCheckpoint

MADE_OF = ["training", "photos", "data", "seed"]
"""Groups of settings that determine a network."""

NOTE = "training.json"


class Photos(Protocol):
    """Photos made ready for a training.

    Attributes:
        epoch: Steps of one pass over the training photos.
        classes: Names of the classes in the order of the network's outputs, where it has some.
    """

    epoch: int
    classes: Sequence[str]

    def inputs(self) -> dict[str, Any]:
        """What the training's constructor takes of the photos."""
        ...


def run(cfg: DictConfig) -> None:
    """Train a network, or go on with the training that lies in `output_dir`.

    A model is one file `conf/train/model/<name>.yaml` and the class of its `training`.

    Raises:
        SettingsMismatchError: If the training there is another one; see `check_training`.
    """
    photos = training_photos(cfg)
    check_training(cfg, photos)
    if photos.classes:
        write_json(Path(cfg.output_dir) / "classes.json", list(photos.classes))
    train(cfg, photos, **schedule(cfg, photos))


def check_training(cfg: DictConfig, photos: Photos) -> None:
    """See that a training that goes on is the one that was begun in its folder.

    What determines the network is noted in `training.json`: network, losses, photos, classes, seed.
    How long it is trained, where it computes and what is logged may change.

    Raises:
        SettingsMismatchError: Names what differs.
    """
    folder = Path(cfg.output_dir)
    groups = OmegaConf.masked_copy(cfg, MADE_OF)
    groups._set_parent(cfg)
    made_of: Any = OmegaConf.to_container(groups, resolve=True)
    made_of["photos"].pop("cache", None)
    made_of["classes"] = list(photos.classes)
    there = read_json(folder / NOTE) if (folder / "last.ckpt").exists() else {}
    differ = differences(there, made_of) if there else []
    if differ:
        raise SettingsMismatchError(
            f"{folder} holds a training with other settings:\n"
            + "\n".join(differ)
            + "\nChoose another folder (output_dir=DIR), or remove last.ckpt there to begin anew"
        )
    write_json(folder / NOTE, made_of)


def training_photos(cfg: DictConfig) -> Photos:
    """The photos of `cfg.photos`, after threads, memory and seeds are set."""
    torch.set_num_threads(cfg.threads)
    keep_freed_memory()
    pl.seed_everything(cfg.seed)
    photos: Photos = instantiate(cfg.photos, _convert_="all")
    return photos


def schedule(cfg: DictConfig, photos: Photos) -> dict[str, int]:
    """How long a model is trained: `steps`, or passes over the photos.

    A model with `epochs` is also validated after each; with few photos a pass is short, so
    `least_steps` and `least_epoch` are lower bounds.

    Returns:
        `steps` of the optimiser, and `val_check_interval` in steps where the model has epochs.
    """
    if "epochs" not in cfg:
        return {"steps": cfg.steps}
    steps = cfg.steps or max(cfg.least_steps, cfg.epochs * photos.epoch)
    return {"steps": steps, "val_check_interval": min(steps, max(cfg.least_epoch, photos.epoch))}


def train(cfg: DictConfig, photos: Photos, steps: int, **trainer: Any) -> None:
    """Train up to a step.

    Args:
        cfg: Has `training`, `trainer`, `logger`, `output_dir`, `checkpoint_seconds` and, where
            pictures are drawn, `grid`.
        photos: What is trained on.
        steps: Optimiser steps of the whole training.
        **trainer: Options of Lightning's trainer that the configuration does not know.
    """
    module = instantiate(cfg.training, **photos.inputs(), steps=steps, _convert_="all")
    checkpoint = TrainingCheckpoint(cfg.output_dir, cfg.checkpoint_seconds)
    pictures = [instantiate(cfg.grid, _convert_="all")] if "grid" in cfg else []
    settings = OmegaConf.to_container(cfg, resolve=True)
    logger = build(cfg.logger, folder=cfg.output_dir, settings=settings)
    with own_environment():
        lightning = instantiate(
            cfg.trainer,
            max_steps=steps,
            callbacks=[checkpoint, *pictures],
            logger=logger.lightning(),
            enable_progress_bar=os.isatty(1),
            plugins=[LightningEnvironment()],  # one process, whatever SLURM's variables say
            **trainer,
            _convert_="all",
        )
    try:
        checkpoint.fit(lightning, module)
        files = [checkpoint.weights, Path(cfg.output_dir) / "classes.json"]
        logger.model([file for file in files if file is not None and file.is_file()])
    finally:
        for one in lightning.loggers:
            close(one)
