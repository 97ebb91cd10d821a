"""Writes a report: `index.html`, a page a photo, their pictures, maps, script and style."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import colormaps

import fido
from fido.report.about import versions
from fido.report.html.photo_page import write_photo_page
from fido.report.html.photos import Photo, Run, numbers_of, photos_of, runs_of
from fido.report.html.score_tables import tables_of
from fido.report.map_scale import COLOURS
from fido.runs.store import ResultsStore
from fido.runtime.files import read_json, write_json, write_text

MARK = '<meta name="generator" content="fido '
"""Every page begins with it; a folder with another page is not ours to write to."""

OWN = re.compile(r"[0-9a-f]{16}\.(html|js|jpg|png)")
"""Names of the files that a report may remove when nothing shows them any more."""


def write_report(
    folder: Path,
    stores: Mapping[str, ResultsStore],
    evaluated: Sequence[Path] = (),
    title: str = "fido",
) -> Path:
    """Write the report of stores; pages of photos that are up to date are left as they are.

    Args:
        folder: Where it goes; made if missing.
        stores: Name of a run to its store.
        evaluated: Folders of runs and sweeps whose evaluations are shown as tables.
        title: Of the report.

    Returns:
        `index.html`.

    Raises:
        ValueError: If the folder holds an `index.html` that is no report.
    """
    index = folder / "index.html"
    # A power cut may leave an empty file.
    there = index.read_text(encoding="utf-8", errors="replace") if index.is_file() else ""
    if there.strip() and MARK not in there[:2000]:
        raise ValueError(f"{index} is no report of fido; give another folder for this one")
    environment = Environment(
        loader=PackageLoader("fido.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"version": fido.__version__, "title": title}
    runs = runs_of(stores)
    photos = photos_of(runs)
    rows, used = _write_photos(folder, environment.get_template("photo.html"), runs, photos)
    tables = tables_of(evaluated, runs, photos)
    page = environment.get_template("index.html").render(
        runs=[_shown_run(run) for run in runs],
        photos=photos,
        results=len(rows),
        tables=tables,
    )
    content = {
        "runs": [{"name": run.name, "differs": run.differs} for run in runs],
        "results": rows,
    }
    write_json(folder / "tables.json", {"tables": tables})
    write_text(folder / "data" / "index.js", f"Fido.open({json.dumps(content)});\n")
    write_text(folder / "data" / "colours.js", f"Fido.colours = {json.dumps(_colours())};\n")
    for name in ("report.js", "report.css"):
        static = files("fido.report.html").joinpath("static", name)
        write_text(folder / name, static.read_text(encoding="utf-8"))
    write_text(index, page)
    _remove_others(folder, used)
    return index


def _write_photos(
    folder: Path, template: Any, runs: Sequence[Run], photos: Sequence[Photo]
) -> tuple[list[dict[str, Any]], set[str]]:
    """Write all pages of photos; returns the rows of the gallery and the names of files in use."""
    rows: list[dict[str, Any]] = []
    used: set[str] = set()
    names = [photo.name for photo in photos]
    for i, photo in enumerate(photos):
        around = (names[i - 1] if i else None, names[i + 1] if i + 1 < len(names) else None)
        pictures = write_photo_page(folder, template, runs, photo, around)
        used |= {f"{photo.name}.html", f"{photo.name}.js"}
        for number, (entry, shown) in enumerate(zip(photo.entries, pictures, strict=True)):
            used |= set(shown.values())
            run = runs[entry.run]
            target = "" if entry.key is None else run.class_name(entry.key.target)
            rows.append(
                {
                    "id": photo.id,
                    "photo": photo.name,
                    "n": number,
                    "run": entry.run,
                    "target": target or str(entry.row.get("target_name") or ""),
                    "seed": None if entry.key is None else entry.key.seed,
                    "status": str(entry.row["status"]),
                    "reason": str(entry.row.get("reason") or ""),
                    "pictures": shown,
                    **numbers_of(entry.row),
                }
            )
    return rows, used


def _shown_run(run: Run) -> dict[str, Any]:
    """What the page says about a run."""
    images, seconds = _of_this_run(run.store.folder / "summary.json")
    return {
        "name": run.name,
        "footer": run.about.footer,
        "settings": run.about.settings or {},
        "versions": versions(run.store.folder),
        "time": f"{seconds / images:.3g} s a photo (the {images:.0f} of the last start)"
        if images and seconds
        else "",
    }


def _of_this_run(summary: Path) -> tuple[float, float]:
    """Images and seconds of the last start; 0 where the file does not say."""
    try:
        this = read_json(summary)["this_run"]
        return float(this["images"]), float(this["seconds"])
    except (KeyError, TypeError, ValueError):
        return 0, 0


def _colours() -> dict[str, list[list[int]]]:
    """Kind of a map to 256 colours in 8 bits."""
    return {
        kind: (colormaps[name](range(256))[:, :3] * 255).round().astype(int).tolist()
        for kind, name in COLOURS.items()
    }


def _remove_others(folder: Path, used: set[str]) -> None:
    """Remove files of results that the report no longer shows."""
    for place in ("photos", "data", "images", "thumbs"):
        for path in (folder / place).glob("*"):
            if OWN.fullmatch(path.name) and path.name not in used:
                path.unlink(missing_ok=True)
