"""The page of one photo: all of its results side by side, and the file of their maps."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Template
from torch import Tensor

from fido.records import Explanation, RegionEdit
from fido.report.html.coded_map import coded_map
from fido.report.html.photos import Entry, Photo, Run, numbers_of
from fido.report.html.pictures import write_picture
from fido.report.remarks import remarks
from fido.runtime.files import write_text

FORMAT = 2
"""Raised when pages that are there already must be written again."""

SHOWN_CLASSES = 5
CURVE_POINTS = 200
CURVE_SIZE = (260, 80)  # of the drawing in its own units


def write_photo_page(
    folder: Path,
    template: Template,
    runs: Sequence[Run],
    photo: Photo,
    around: tuple[str | None, str | None],
) -> list[dict[str, str]]:
    """Write `photos/<name>.html`, `data/<name>.js` and the pictures, unless they are there.

    Args:
        folder: The report's.
        template: Of the page.
        runs: All runs of the report.
        photo: The photo.
        around: Names of the photos before and after this one.

    Returns:
        For each entry the names of its pictures: "photo", "kept", "removed", "counterfactual", as
        far as there are any.
    """
    script = folder / "data" / f"{photo.name}.js"
    page = folder / "photos" / f"{photo.name}.html"
    digest = _digest(runs, photo, around)
    before = _read_head(script) if page.is_file() else {}
    if before.get("digest") == digest:
        pictures: list[dict[str, str]] = before["pictures"]
        return pictures
    results = [_result(folder, runs[entry.run], entry) for entry in photo.entries]
    pictures = [result["pictures"] for result in results]
    maps = [result.pop("map") for result in results]
    boxes = [result.pop("boxes") for result in results]
    head = json.dumps({"digest": digest, "pictures": pictures})
    data = json.dumps({"maps": maps, "boxes": boxes})
    text = template.render(photo=photo, results=results, before=around[0], after=around[1])
    write_text(page, text)
    write_text(script, f"// {head}\nFido.add({json.dumps(photo.name)}, {data});\n")
    return pictures


def _result(folder: Path, run: Run, entry: Entry) -> dict[str, Any]:
    """What the template shows of a result, with its map and boxes for the script."""
    row = entry.row
    shown: dict[str, Any] = {
        "run": entry.run,
        "name": run.name,
        "differs": run.differs,
        "footer": run.about.footer,
        "seed": row.get("seed"),
        "status": row["status"],
        "reason": row.get("reason") or "",
        "target": row.get("target_name"),
        "predicted": row.get("predicted_name"),
        "label": row.get("label"),
        "numbers": numbers_of(row),
        "pictures": {},
        "map": None,
        "boxes": [],
    }
    if entry.key is None or entry.path is None:
        return shown
    sample, explanation = run.store.sample(entry.key), run.store.load(entry.key)
    edit = run.store.edit(entry.key)
    height, width = sample.image.shape[-2:]
    pictures = _pictures(sample.image, explanation, edit)
    boxes = [] if sample.boxes is None else sample.boxes.tolist()
    shown |= {
        "footer": run.about.footer_of(sample),
        "target": run.class_name(explanation.target),
        "cost": explanation.cost,
        "size": (width, height),
        "region": float(explanation.region.float().mean()),
        "regions": run.about.regions,
        "pictures": {name: write_picture(folder, image) for name, image in pictures.items()},
        "raw": quote(os.path.relpath(entry.path, folder / "photos"), errors="surrogateescape"),
        "probabilities": _probabilities(run, explanation.target, edit),
        "curves": list(_curves(explanation)),
        "remarks": remarks(explanation, edit, run.about),
        "map": coded_map(explanation) | {"region": run.about.regions},
        "boxes": [[box[0] / width, box[1] / height, box[2] / width, box[3] / height]
                  for box in boxes],
    }  # fmt: skip
    return shown


def _pictures(
    image: Tensor, explanation: Explanation, edit: RegionEdit | None
) -> dict[str, Tensor]:
    found = {"photo": image}
    if edit is not None:
        found |= {"kept": edit.kept, "removed": edit.removed}
    if explanation.counterfactual is not None:
        found["counterfactual"] = explanation.counterfactual
    return found


def _probabilities(run: Run, target: int, edit: RegionEdit | None) -> list[dict[str, Any]]:
    """The strongest classes of the photo and of its edits, the target always among them."""
    if edit is None:
        return []
    tables = []
    for title, values in zip(("photo", "kept", "removed"), edit.probabilities, strict=True):
        chosen = values.topk(min(SHOWN_CLASSES, len(values))).indices.tolist()
        if target not in chosen:
            chosen.append(target)
        lines = [(run.class_name(i), float(values[i]), i == target) for i in chosen]
        tables.append({"title": title, "lines": lines})
    return tables


def _curves(explanation: Explanation) -> Iterator[dict[str, Any]]:
    """Every curve of the history as the points of a drawing, with its first and last value."""
    width, height = CURVE_SIZE
    for name, curve in explanation.history.items():
        values = [float(value) for value in curve.flatten()]
        finite = [value for value in values if abs(value) < float("inf")]
        if len(finite) < 2:
            continue
        low, high = min(finite), max(finite)
        stride = max(1, len(values) // CURVE_POINTS)
        points = [
            f"{width * i / (len(values) - 1):.1f},"
            f"{height - height * (values[i] - low) / ((high - low) or 1):.1f}"
            for i in sorted({*range(0, len(values), stride), len(values) - 1})
            if abs(values[i]) < float("inf")
        ]
        yield {
            "name": name,
            "points": " ".join(points),
            "steps": len(values),
            "first": values[0],
            "last": values[-1],
            "low": low,
            "high": high,
        }


def _digest(runs: Sequence[Run], photo: Photo, around: tuple[str | None, str | None]) -> str:
    """Changes when anything that the page shows has changed."""
    parts: list[object] = [FORMAT, around]
    for entry in photo.entries:
        run = runs[entry.run]
        time = entry.path.stat().st_mtime_ns if entry.path is not None else 0
        parts.append((entry.run, run.name, run.differs, run.about.footer, entry.row, time))
    return hashlib.sha256(ascii(parts).encode()).hexdigest()[:16]


def _read_head(script: Path) -> dict[str, Any]:
    """The first line of a file of maps; empty if there is none that can be read."""
    try:
        with script.open(encoding="utf-8") as lines:
            head = json.loads(lines.readline().removeprefix("// "))
    except (OSError, ValueError, RecursionError):
        return {}
    return head if isinstance(head, dict) and isinstance(head.get("pictures"), list) else {}
