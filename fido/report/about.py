"""What a run did, in words for pictures and reports, read from its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fido.records import Sample
from fido.runs.run_settings import read_made_by
from fido.runs.store import ResultsStore
from fido.runtime.files import read_json

POINTWISE = ("gradient", "smoothgrad", "integrated_gradients")
"""Methods whose maps are scattered pixels: half of the maximum encloses no region of them."""

OPEN = "???"
"""What a configuration leaves to the run; it says nothing about a setting."""


@dataclass(frozen=True)
class RunAbout:
    """What determined the maps of a run.

    Attributes:
        method: The explainer's name; empty if the folder does not say.
        infiller: The infiller's name; empty for methods that use none.
        steps: Steps of the optimisation, where the method has any.
        resize: How photos were brought to the classifier's size.
        settings: Dotted name to value of all that determines the maps.
        grid: Cells a side of the mask, where it is one number.
        regions: Whether the map's region means something; see `POINTWISE`.
    """

    method: str = ""
    infiller: str = ""
    steps: int | None = None
    resize: str = ""
    settings: Mapping[str, Any] | None = None
    grid: int | None = None
    regions: bool = True

    @property
    def footer(self) -> str:
        """One line for below pictures; what is not known is left out."""
        parts = {
            "method": self.method,
            "infiller": self.infiller,
            "steps": self.steps,
            "photos resized by": self.resize,
        }
        return ", ".join(f"{name} {value}" for name, value in parts.items() if value)

    def footer_of(self, sample: Sample) -> str:
        """The line for below the picture of one photo: also how much of it was cropped."""
        height, width = sample.image.shape[-2:]
        cropped = ""
        if sample.photo is not None:
            percent = round(100 * (1 - sample.photo.share))
            cropped = f"{percent}% of the photo cropped" if percent else "nothing cropped"
        parts = [self.footer, cropped, f"{width} x {height} pixels"]
        return ", ".join(filter(None, parts))


def about_run(store: ResultsStore) -> RunAbout:
    """What a store's folder says about its run."""
    settings = store.settings()
    if not settings:
        return RunAbout()
    choices = read_made_by(store.folder).get("choices", {})
    explainer = settings.get("explainer", {})
    module = str(explainer.get("_target_", "")).split(".")
    kind = module[-2] if len(module) > 1 else ""
    uses = "infiller" in explainer
    mask = explainer.get("mask")
    grid = mask.get("grid") if isinstance(mask, dict) else None
    infiller = str(settings.get("infiller", {}).get("_target_", "")).split(".")
    return RunAbout(
        method=str(choices.get("explainer", kind)),
        infiller=str(choices.get("infiller", infiller[-2 if len(infiller) > 1 else -1]))
        if uses
        else "",
        steps=explainer.get("steps"),
        resize=str(settings.get("data", {}).get("resize", "")),
        settings=dict(flat(settings)),
        grid=grid if isinstance(grid, int) else None,
        regions=kind not in POINTWISE,
    )


def versions(folder: Path) -> dict[str, str]:
    """Versions, commit and device of the process that started last; empty if not noted."""
    try:
        noted = read_json(folder / "env.json")
    except ValueError:  # no report fails for want of it
        return {}
    packages = noted.pop("packages", {})
    packages = packages if isinstance(packages, Mapping) else {}
    kept = {name: noted[name] for name in ("python", "platform", "device", "commit")
            if noted.get(name)}  # fmt: skip
    return {name: str(value) for name, value in {**packages, **kept}.items()}


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("a.b.c", leaf) for every leaf of nested mappings that says something."""
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from flat(child, f"{prefix}.{key}" if prefix else str(key))
    elif value != OPEN:
        yield prefix, value
