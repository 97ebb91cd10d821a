"""One checkpoint file, replaced atomically, also written on SIGTERM."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import nn

from fido.runtime.files import atomic_path
from fido.runtime.tensors import save_tensors

PARTS = {
    "state_dict": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": dict,
    "callbacks": dict,
    "global_step": int,
    "pytorch-lightning_version": str,
}
"""What Lightning goes on from, and of which type it is."""


class TrainingCheckpoint(pl.Callback):
    """Write `<folder>/last.ckpt` regularly, and when the training is stopped.

    The same command started again goes on from there; see `fit`.

    Args:
        folder: Where the files go.
        every_seconds: Seconds between two checkpoints.
        export: Attribute of the module whose weights are also written, as safetensors, or None.
    """

    def __init__(
        self, folder: Path | str, every_seconds: float = 300.0, export: str | None = "ema"
    ) -> None:
        self.folder = Path(folder)
        self.every_seconds = every_seconds
        self.export = export
        self._saved = time.monotonic()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint file, whether it exists or not."""
        return self.folder / "last.ckpt"

    @property
    def weights(self) -> Path | None:
        """The file of the exported weights, whether it exists or not; None if there is none."""
        return None if self.export is None else self.folder / f"{self.export}.safetensors"

    def resume_from(self) -> Path | None:
        """The checkpoint to go on from, or None at the first start."""
        return self.checkpoint if self.checkpoint.exists() else None

    def fit(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Train to the trainer's last step, from where the last call of this folder was stopped.

        The untrained network is validated first, to compare with.

        Args:
            trainer: Has this callback.
            module: Has data loaders of its own; see `AveragedTraining`.

        Raises:
            ValueError: If the checkpoint cannot be read, holds more than tensors and numbers, or is
                of another network.
        """
        resume = self.resume_from()
        if resume is not None:
            _check(resume, module)
        with warnings.catch_warnings():
            # Frozen submodules are in evaluation mode on purpose.
            warnings.filterwarnings("ignore", message=".*in eval mode at the start of training.*")
            if resume is None:
                trainer.validate(module, verbose=False)
            trainer.fit(module, ckpt_path=resume, weights_only=True)

    def save(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Write both files now."""
        with atomic_path(self.checkpoint) as temporary:
            trainer.save_checkpoint(temporary)
        if self.export is not None and self.weights is not None:
            network: nn.Module = getattr(module, self.export)
            step = {"step": str(trainer.global_step)}
            save_tensors(self.weights, network.state_dict(), step)
        self._saved = time.monotonic()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save if it is time."""
        if time.monotonic() - self._saved >= self.every_seconds:
            self.save(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the last state."""
        self.save(trainer, pl_module)

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save if a user stopped the training; an error leaves the last good file as it is."""
        if isinstance(exception, (KeyboardInterrupt, SIGTERMException)):
            self.save(trainer, pl_module)


def _check(checkpoint: Path, module: pl.LightningModule) -> None:
    """Read a checkpoint before Lightning does, whose errors name no file.

    Raises:
        ValueError: If it is none, or one of another network.
    """
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own exceptions; all mean the same here
        raise ValueError(
            f"{checkpoint} is no checkpoint of a training, is cut off, or holds more than tensors "
            "and numbers, which would run code and is not read. Remove it to begin anew "
            f"({error})"
        ) from error
    wrong = [
        part
        for part, kind in PARTS.items()
        if not isinstance(state, dict) or not isinstance(state.get(part), kind)
    ]
    if wrong:
        raise ValueError(
            f"{checkpoint} is no checkpoint of a training, it has no {wrong[0]}; remove it to "
            "begin anew"
        )
    there = {name: getattr(value, "shape", None) for name, value in state["state_dict"].items()}
    wanted = {name: value.shape for name, value in module.state_dict().items()}
    differ = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
    if differ:
        raise ValueError(
            f"{checkpoint} is of another network: {len(differ)} tensors differ, first "
            f"{differ[0]}; choose another folder (output_dir=DIR), or remove it to begin anew"
        )
