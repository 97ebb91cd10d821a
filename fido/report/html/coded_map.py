"""A map in 8 bits for a browser, so that its region at the stored threshold stays exact."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fido.records import Explanation
from fido.report.map_scale import map_scale

LEVELS = 256


def coded_map(explanation: Explanation) -> dict[str, Any]:
    """What the page needs to draw a map and its region at any threshold.

    Level k holds the values from `low + k * (high - low) / 256` on. The region at a threshold is
    where the level exceeds a whole number; at `cut` it is the explanation's region to the pixel.

    Returns:
        `png`, a data URI of the levels in grey; `low` and `high`, the ends of the levels; `cut`;
        `threshold` as stored; `kind` and `colours` (two values) of the colour scale: see
        `MapScale`.
    """
    scale = map_scale(explanation)
    values = np.nan_to_num(explanation.saliency[0].numpy().astype(np.float64), nan=-math.inf)
    finite = values[np.isfinite(values)]
    low, high = float(finite.min(initial=math.inf)), float(finite.max(initial=-math.inf))
    if scale.kind == "probability":
        low, high = 0.0, 1.0
    elif not low < high:
        low, high = (low, low + 1.0) if finite.size else (0.0, 1.0)
    levels = np.clip(np.floor((values - low) / (high - low) * LEVELS), 0, LEVELS - 1)
    region = explanation.region[0].numpy()
    cut = math.ceil((explanation.threshold - low) / (high - low) * LEVELS) - 1
    cut = max(cut, -1 if region.all() else 0)
    cut = min(cut, LEVELS - 2 if region.any() else LEVELS - 1)
    # Rounding to levels must not move a pixel across the threshold.
    levels = np.where(region, np.maximum(levels, cut + 1), np.minimum(levels, max(cut, 0)))
    return {
        "png": png_data_uri(levels.astype(np.uint8)),
        "low": low,
        "high": high,
        "cut": cut,
        "threshold": explanation.threshold,
        "kind": scale.kind,
        "colours": [scale.low, scale.high],
    }


def png_data_uri(levels: NDArray[np.uint8]) -> str:
    """A grey image (h, w) as a data URI, which a page read from the disk may look into."""
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
