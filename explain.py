"""Explain photos: `python explain.py infiller=blur data=folder data.path=photo.jpg`."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fido.app.callbacks import Returned, check_returns, returned
from fido.app.instantiate import build, plain_errors, prepare_command_line


@hydra.main(version_base="1.3", config_path="conf", config_name="explain")
def main(cfg: DictConfig) -> Returned:
    """Have one run executed, here or by workers."""
    with plain_errors():
        choices = {str(group): str(to) for group, to in HydraConfig.get().runtime.choices.items()}
        check_returns(cfg.returns)
        return returned(build(cfg.compute)(cfg, choices), cfg.returns)


if __name__ == "__main__":
    prepare_command_line()
    main()
