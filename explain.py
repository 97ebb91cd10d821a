"""Explain photos: `python explain.py infiller=blur data=folder data.path=photo.jpg`."""

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fido.app.callbacks import Returned, check_optimized_metric, optimized_values
from fido.app.instantiate import build, prepare_command_line, user_errors


@hydra.main(version_base="1.3", config_path="conf", config_name="explain")
def main(cfg: DictConfig) -> Returned:
    """Have one run executed, here or by workers."""
    with user_errors():
        choices = {str(group): str(to) for group, to in HydraConfig.get().runtime.choices.items()}
        check_optimized_metric(cfg.optimized_metric)
        return optimized_values(build(cfg.executor)(cfg, choices), cfg.optimized_metric)


if __name__ == "__main__":
    prepare_command_line()
    main()
