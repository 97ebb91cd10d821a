"""Weights & Biases for trainings, without asking anybody for a key."""

from __future__ import annotations

import os
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger

from fido.loggers.wandb_key import wandb_logged_in


def wandb_logger(save_dir: str, mode: str = "auto", **options: Any) -> WandbLogger:
    """Lightning's logger in a mode that works here.

    Args:
        save_dir: Folder of the local files.
        mode: "online", "offline", "disabled", or "auto": what WANDB_MODE says, else online where
            a key is at hand, else offline.
        **options: Passed on: project, entity, name, id, group, tags.

    Raises:
        ValueError: If the mode is none of these.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb_logged_in() else "offline")
    if mode not in ("online", "offline", "disabled"):
        raise ValueError(
            f"train_logger.mode must be auto, online, offline or disabled, got {mode!r}"
        )
    os.makedirs(save_dir, exist_ok=True)
    return WandbLogger(save_dir=save_dir, offline=mode == "offline", mode=mode, **options)


def close(logger: Logger) -> None:
    """Ends a run of Weights & Biases, so that all of it is on disk or sent."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
