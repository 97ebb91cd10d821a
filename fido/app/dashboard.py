"""`fido dashboard`: the W&B view that compares the runs of a sweep."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from fido.loggers.wandb import wandb_logged_in
from fido.runtime.files import write_json


def run(cfg: DictConfig) -> None:
    """Write the view's specification and, unless save=false, save the view to W&B.

    Raises:
        ImportError: Without the extra `dashboard`.
        ValueError: If there is no key, or no entity, to save with.
        ConnectionError: If W&B does not take it.
    """
    try:
        from fido.loggers.wandb_dashboard import build_workspace, save, specification
    except ImportError as error:  # also of a wandb that is older than the extra's
        raise ImportError(f"{error}: pip install 'fido-xai[dashboard]'") from error
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
        dict(cfg.measures),
        list(cfg.figures),
        cfg.group,
    )
    file = Path(cfg.output_dir) / "dashboard.json"
    write_json(file, specification(workspace))
    print(f"specification: {file}")
    if cfg.save:
        print(f"dashboard: {save(workspace)}")
