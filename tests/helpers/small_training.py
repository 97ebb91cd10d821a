"""Trainings of seconds: images that are easy to complete, a trainer, a user's Ctrl-C."""

import pytorch_lightning as pl
import torch

from fido.training.checkpoint import TrainingCheckpoint


class Stopped(KeyboardInterrupt):
    """What a user's Ctrl-C is."""


class StopAt(pl.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == self.step:
            raise Stopped


def stripes(n, seed):
    """Diagonal stripes: easy to complete for who understands them, hard by blurring."""
    generator = torch.Generator().manual_seed(seed)
    phase = torch.rand(n, 3, 1, 1, generator=generator)
    y, x = torch.arange(32.0).view(1, 1, 32, 1), torch.arange(32.0).view(1, 1, 1, 32)
    return 0.5 + 0.4 * torch.sin((x + y) * 0.8 + 6.3 * phase)


def fit(folder, module, steps, *callbacks):
    """Train up to a step, from where the folder's last training was stopped."""
    checkpoint = TrainingCheckpoint(folder)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        check_val_every_n_epoch=None,
        val_check_interval=4,
        num_sanity_val_steps=0,
        callbacks=[checkpoint, *callbacks],
    )
    resume = checkpoint.resume_from()
    trainer.fit(module, ckpt_path=resume, weights_only=True)
    return module
