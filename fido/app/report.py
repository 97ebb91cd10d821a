"""`fido report`: pictures, contact sheets and the report of runs and sweeps from their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from fido.app.evaluate import given_stores
from fido.app.originals import originals_of_store
from fido.report.contact_sheet import draw_contact_sheet
from fido.report.explanation_figure import draw_figures
from fido.report.exports import SIZED, check_kinds, write_exports
from fido.report.html.report import write_report
from fido.runs.sweep import named_stores

FOLDER = "report"
"""Of the report inside the folder of a run or a sweep."""


def run(cfg: DictConfig) -> None:
    """Make what belongs to the folders `store` again; no network is asked.

    Every result gets its figure, every folder its contact sheet, all of them together a report.

    Raises:
        FileNotFoundError: If a folder holds no explanations.
        ValueError: If the report's folder holds another page.
    """
    given = given_stores(cfg.store)
    folders = list(given.values()) if isinstance(given, dict) else given
    kinds = list(cfg.export)
    check_kinds(kinds)
    plots = {"dpi": cfg.plots.dpi, "form": cfg.plots.format}
    for folder in folders:
        stores, _ = named_stores([folder])
        if cfg.figures:
            drawn = [
                path for store in stores.values() for path in draw_figures(store, None, **plots)
            ]
            print(f"{folder}: {len(drawn)} figures")
        for store in stores.values() if kinds else ():
            originals = originals_of_store(store) if SIZED in kinds else None
            print(f"exports: {write_exports(store, kinds, None, originals)}")
        sheet = draw_contact_sheet(Path(folder).expanduser(), cfg.max_images, cfg.plots.dpi)
        print(f"contact sheet: {sheet}")
    if cfg.html:
        stores, _ = named_stores(given)
        evaluated = [Path(folder).expanduser() for folder in folders]
        place = Path(cfg.folder).expanduser() if cfg.folder else report_folder(evaluated)
        print(f"report: {write_report(place, stores, evaluated, title_of(evaluated))}")


def report_folder(folders: Sequence[Path]) -> Path:
    """Where a report goes by default: into its one folder, or below `outputs/` for several."""
    if len(folders) == 1:
        return folders[0] / FOLDER
    return Path("outputs") / FOLDER


def title_of(folders: Sequence[Path]) -> str:
    """What a report is called: the names of its folders."""
    return ", ".join(folder.resolve().name for folder in folders)


def report_of(folder: Path) -> Path | None:
    """The report of one run or sweep, in its folder; None if nothing has been explained there."""
    try:
        stores, _ = named_stores([str(folder)])
    except FileNotFoundError:
        return None
    return write_report(folder / FOLDER, stores, [folder], title_of([folder]))
