"""Trains a classifier: `python train_classifier.py data.path=FOLDER`, a subfolder a class."""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from fido.app.instantiate import plain_errors
from fido.app.train import train, training_photos
from fido.runtime.files import write_json


@hydra.main(version_base=None, config_path="conf", config_name="train_classifier")
def main(config: DictConfig) -> None:
    """Trains, or goes on with the training that lies in `output`."""
    with plain_errors():
        photos = training_photos(config)
        write_json(Path(config.output) / "classes.json", photos.classes)
        steps = max(config.least_steps, config.epochs * photos.epoch)
        epoch = min(steps, max(config.least_epoch, photos.epoch))
        train(config, photos, steps, val_check_interval=epoch)


if __name__ == "__main__":
    main()
