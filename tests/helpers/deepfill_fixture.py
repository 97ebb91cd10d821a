"""The outputs of the authors' 2018 graph, and the weights and TensorFlow snapshot behind them.

`deepfill_fixture.npz` was computed by the authors' code under TensorFlow, for weights given by a
rule; `deepfill_fixture.index` is the index that TensorFlow wrote when it saved those weights. The
14 MB of data are made again from the rule.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fido.weights.deepfill import DATA_FILE, INDEX_FILE, variables

DATA = Path(__file__).parents[1] / "fixtures"


def rule_arrays() -> dict[str, np.ndarray]:
    """TensorFlow name -> weights: the j-th name in sorted order is drawn with the seed 1000 + j."""
    arrays = {}
    for j, name in enumerate(sorted(v.name for v in variables())):
        shape = next(v.shape for v in variables() if v.name == name)
        values = np.random.RandomState(1000 + j).randn(*shape)
        scale = np.sqrt(2 / (np.prod(shape[:2]) * sum(shape[2:]))) if len(shape) == 4 else 0.05
        arrays[name] = (values * scale).astype(np.float32)
    return arrays


def write_snapshot(folder: Path, arrays: dict[str, np.ndarray] | None = None) -> Path:
    """A TensorFlow snapshot of the rule's weights; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX_FILE).write_bytes((DATA / "deepfill_fixture.index").read_bytes())
    arrays = rule_arrays() if arrays is None else arrays
    (folder / DATA_FILE).write_bytes(b"".join(arrays[name].tobytes() for name in sorted(arrays)))
    return folder


def fixture(name: str) -> Tensor:
    """One array of the fixture as float32 NCHW."""
    with np.load(DATA / "deepfill_fixture.npz") as arrays:
        return torch.from_numpy(arrays[name]).permute(0, 3, 1, 2).float().contiguous()
