"""Trains the VAE infiller: `python train_vae.py`, or with data=folder data.path=FOLDER."""

import os

import hydra
import pytorch_lightning as pl
import torch
import wandb
from hydra.utils import instantiate
from omegaconf import DictConfig

from fido.training.checkpoint import TrainingCheckpoint


@hydra.main(version_base=None, config_path="conf", config_name="train_vae")
def main(config: DictConfig) -> None:
    """Trains, or goes on with the training that lies in `output`."""
    torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed)
    photos = instantiate(config.photos, _convert_="all")
    steps = max(config.least_steps, config.epochs * photos.epoch)
    seen = {"batches": photos.batch, "validation_images": photos.validation_images}
    module = instantiate(config.training, **seen, steps=steps, _convert_="all")
    checkpoint = TrainingCheckpoint(config.output, config.checkpoint_seconds)
    trainer = instantiate(
        config.trainer,
        max_steps=steps,
        val_check_interval=min(steps, max(config.least_epoch, photos.epoch)),
        callbacks=[checkpoint, instantiate(config.grid, _convert_="all")],
        logger=instantiate(config.train_logger, _convert_="all"),
        enable_progress_bar=os.isatty(1),
        _convert_="all",
    )
    try:
        checkpoint.fit(trainer, module, steps)
    finally:
        wandb.finish()


if __name__ == "__main__":
    main()
