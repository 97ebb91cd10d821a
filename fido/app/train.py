"""From Hydra's configuration to a training; what the `train_*.py` commands share."""

from __future__ import annotations

import os
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from fido.loggers.wandb_training import close
from fido.runtime.memory import keep_freed_memory
from fido.training.checkpoint import TrainingCheckpoint
from fido.training.labelled_photos import LabelledPhotos
from fido.training.photos import TrainingPhotos


def training_photos(config: DictConfig) -> Any:
    """The photos of `config.photos`, after threads, memory and seeds are set."""
    torch.set_num_threads(config.threads)
    keep_freed_memory()
    pl.seed_everything(config.seed)
    return instantiate(config.photos, _convert_="all")


def train(
    config: DictConfig, photos: TrainingPhotos | LabelledPhotos, steps: int, **trainer: Any
) -> None:
    """Trains up to a step, or goes on with the training that lies in `config.output`.

    Args:
        config: Has `training`, `trainer`, `train_logger`, `output`, `checkpoint_seconds` and, where
            pictures are drawn, `grid`.
        photos: What is trained on.
        steps: Optimiser steps of the whole training.
        **trainer: Options of Lightning's trainer that the configuration does not know.
    """
    module = instantiate(config.training, **photos.inputs(), steps=steps, _convert_="all")
    checkpoint = TrainingCheckpoint(config.output, config.checkpoint_seconds)
    pictures = [instantiate(config.grid, _convert_="all")] if "grid" in config else []
    lightning = instantiate(
        config.trainer,
        max_steps=steps,
        callbacks=[checkpoint, *pictures],
        logger=instantiate(config.train_logger, _convert_="all"),
        enable_progress_bar=os.isatty(1),
        **trainer,
        _convert_="all",
    )
    try:
        checkpoint.fit(lightning, module, steps)
    finally:
        for logger in lightning.loggers:
            close(logger)
