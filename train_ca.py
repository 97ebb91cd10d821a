"""Trains the contextual-attention infiller: `python train_ca.py data_root=FOLDER`."""

from pathlib import Path

import hydra
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from fido.push_pull import push_pull
from fido.training_checkpoint import TrainingCheckpoint
from fido.training_data import InTurn, RandomCrops, cached_images, centre_crops, split_by_name


@hydra.main(version_base=None, config_path="conf", config_name="train_ca")
def main(config: DictConfig) -> None:
    """Trains, or goes on with the training that lies in `output`."""
    torch.set_num_threads(config.threads)
    pl.seed_everything(config.seed)
    images, names = cached_images(config.data_root, config.image_size, config.cache)
    training, validation = split_by_name(names, config.held_out)
    # A seed each: streams in turn should not show the same photos at the same time.
    crops = InTurn(
        [
            RandomCrops(images, training, crop, batch_size, config.seed + index)
            for index, (crop, batch_size) in enumerate(config.crops)
        ]
    )
    module = instantiate(
        config.training,
        batches=crops.batch,
        validation_images=centre_crops(images, validation[: config.validate_on], config.image_size),
        _convert_="all",
    )
    checkpoint = TrainingCheckpoint(Path(config.output), config.checkpoint_seconds)
    trainer = instantiate(
        config.trainer,
        callbacks=[checkpoint],
        logger=instantiate(config.logger, _convert_="all"),
        _convert_="all",
    )
    if checkpoint.resume_from() is None:
        trainer.logger.log_metrics(
            {f"val/prefill/{k}": v for k, v in module.evaluate(push_pull).items()}, 0
        )
    steps = range(config.steps)
    trainer.fit(module, steps, range(1), ckpt_path=checkpoint.resume_from(), weights_only=True)


if __name__ == "__main__":
    main()
