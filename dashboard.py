"""Save the W&B view that compares runs: `python dashboard.py entity=me project=fido`."""

from pathlib import Path

import hydra
import wandb
from omegaconf import DictConfig, OmegaConf

from fido.app.instantiate import user_errors
from fido.loggers.wandb_key import wandb_logged_in
from fido.runtime.files import write_json


@hydra.main(version_base="1.3", config_path="conf", config_name="dashboard")
def main(cfg: DictConfig) -> None:
    """Write the view's specification and, unless save=false, save the view to W&B."""
    with user_errors():
        try:
            from wandb.sdk.lib.service.service_connection import WandbApiFailedError

            from fido.loggers.wandb_dashboard import build_workspace, specification
        except ImportError as error:  # also of a wandb that is older than the extra's
            raise ImportError(f"{error}: pip install -e '.[dashboard]'") from error
        if cfg.save and not wandb_logged_in():
            raise ValueError(
                "no W&B key here: run `wandb login` or set WANDB_API_KEY; save=false needs no "
                "account and writes the view's specification only"
            )
        if cfg.save and cfg.entity is None:
            raise ValueError("give entity=NAME, the W&B user or team that the project belongs to")
        workspace = build_workspace(
            cfg.entity or "nobody",
            cfg.project,
            cfg.name,
            OmegaConf.to_object(cfg.measures),
            OmegaConf.to_object(cfg.figures),
            cfg.group,
        )
        file = Path(cfg.output_dir) / "dashboard.json"
        write_json(file, specification(workspace))
        print(f"specification: {file}")
        if cfg.save:
            try:
                print(f"dashboard: {workspace.save().url}")
            except (wandb.Error, WandbApiFailedError) as error:
                raise ConnectionError(f"W&B did not save the view: {error}") from error


if __name__ == "__main__":
    main()
