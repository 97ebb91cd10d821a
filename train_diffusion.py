"""Trains a denoiser for diffusion: `python train_diffusion.py data=folder data.path=FOLDER`."""

import hydra
from omegaconf import DictConfig

from fido.app.instantiate import user_errors
from fido.app.train import train, training_photos


@hydra.main(version_base=None, config_path="conf", config_name="train_diffusion")
def main(config: DictConfig) -> None:
    """Trains, or goes on with the training that lies in `output`."""
    with user_errors():
        photos = training_photos(config)
        train(config, photos, config.steps)


if __name__ == "__main__":
    main()
