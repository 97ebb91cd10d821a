"""Lightning's Trainer without the environment's say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

PREFIX = "PL_TRAINER_"


@contextmanager
def own_environment() -> Iterator[None]:
    """While a Trainer is built, hide the variables by which Lightning lets users set its arguments.

    PL_TRAINER_MAX_EPOCHS=3, set for another program, would change maps. SLURM's and torchrun's
    variables are answered by the plugin `LightningEnvironment`.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(PREFIX)}
    try:
        yield
    finally:
        os.environ.update(hidden)
