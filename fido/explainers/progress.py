"""How a method tells the outside how far it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

Progress = Callable[[Sequence[str], int, int, dict[str, Tensor]], None]
"""Told while a method works: ids of the batch, steps done, steps in all, newest (b,) values."""
