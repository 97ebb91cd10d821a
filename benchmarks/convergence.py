"""Loss, p(kept), p(removed) and saliency metric against the rows that FIDO has spent on a photo.

    python benchmarks/convergence.py  # three sample photos, their predicted classes
    python benchmarks/convergence.py --photos 12 --data data=boxes data.root=DIR target=label

Every run is looked at a number of times: its region of that moment (saliency above 1/2) is kept
alone and removed, infilled with `ca`, and its tight box is cropped. What the looks cost is not
counted. Means over the photos go into a figure, a table and JSON.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from matplotlib.figure import Figure
from omegaconf import DictConfig
from torch import Tensor

from fido.app.folders import conf_folder, use_groups_of
from fido.app.instantiate import build, build_classifier
from fido.classifiers.base import Classifier
from fido.infillers.base import Infiller
from fido.metrics.region import region_probabilities
from fido.metrics.saliency_metric import SaliencyMetric
from fido.records import Explanation, Sample
from fido.report.style import INK, save_figure
from fido.runs.target import resolve_target
from fido.runtime.files import write_json

SETTINGS = {"paper": ["experiment=paper"], "default": [], "fast": ["preset=fast"]}
CURVES = {
    "loss": "loss (nats; each setting has its own)",
    "p_kept": "p(class), region kept",
    "p_removed": "p(class), region removed",
    "sm": "saliency metric (nats)",
}


def configuration(*overrides: str) -> DictConfig:
    """The configuration of `explain.py`."""
    use_groups_of("explain")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return compose("explain", ["output_dir=out", *overrides])


def samples_of(cfg: DictConfig, classifier: Classifier, count: int) -> list[Sample]:
    """The first photos of the source that the run would explain, with their targets."""
    source = build(
        cfg.data,
        size=classifier.size,
        crop_fraction=classifier.crop_fraction,
        interpolation=classifier.interpolation,
    )
    chosen: list[Sample] = []
    for entry in source.selected():
        sample = source.load(entry)
        logits = classifier(sample.image.unsqueeze(0))[0]
        if source.only_correct and int(logits.argmax()) != sample.label:
            continue
        target = resolve_target(cfg.target, sample, logits, classifier.class_names)
        chosen.append(replace(sample, target=target))
        if len(chosen) == count:
            break
    return chosen


def looks(
    cfg: DictConfig, classifier: Classifier, judge: Infiller, sample: Sample, count: int
) -> list[dict[str, float]]:
    """One row for each look at the run of a photo."""
    rows: list[dict[str, float]] = []
    made: list[Any] = []
    box = SaliencyMetric(classifier, alphas=(), target="explained")

    def mask(original: Any, images: int, size: tuple[int, int]) -> Any:
        made.append(original(images, size))
        return made[-1]

    def look(_: Any, done: int, steps: int, newest: dict[str, Tensor]) -> None:
        if done % max(steps // count, 1) and done != steps:
            return
        with torch.no_grad():
            keep_prob = made[-1].final_keep_prob()[0]
        now = Explanation(
            sample.id, int(sample.target or 0), explainer.objective.saliency(keep_prob)
        )
        probabilities = region_probabilities(classifier, judge, sample, now.region, now.target)
        views = len(explainer.objective.signs)
        rows.append(
            {
                "rows": done * explainer.samples * views,
                "loss": float(newest["loss"]),
                "p_kept": probabilities["p_kept"],
                "p_removed": probabilities["p_removed"],
                "area": probabilities["area"],
                "sm": box.score(sample, now).values["sm"],
            }
        )

    explainer = build(
        cfg.explainer, classifier=classifier, infiller=build(cfg.infiller), progress=look
    )
    explainer.mask = partial(mask, explainer.mask)
    explainer.explain([sample])
    return rows


def means(per_photo: list[list[dict[str, float]]]) -> list[dict[str, float]]:
    """Look by look, the mean over photos, as far as all of them have it."""
    length = min(len(rows) for rows in per_photo)
    return [
        {
            name: sum(rows[i][name] for rows in per_photo) / len(per_photo)
            for name in per_photo[0][i]
        }
        for i in range(length)
    ]


def draw(curves: dict[str, list[dict[str, float]]], photos: int) -> Figure:
    """Four panels over the rows of an image, which are drawn on a logarithmic axis."""
    figure = Figure(figsize=(15, 3.8), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(1, 4), CURVES.items(), strict=True):
        for setting, rows in curves.items():
            axes.plot([r["rows"] for r in rows], [r[name] for r in rows], label=setting, lw=1.5)
        axes.set(xscale="log", xlabel="rows forward and backward", title=title)
    figure.axes[0].legend(frameon=False)
    figure.suptitle(f"mean of {photos} photos", color=INK)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--photos", type=int, default=3)
    parser.add_argument("--looks", type=int, default=15)
    parser.add_argument("--data", nargs="*", default=[], help="overrides of every run, data=...")
    parser.add_argument("--out", type=Path, default=Path("outputs/convergence"))
    arguments = parser.parse_args()
    common = configuration(*arguments.data)
    classifier = build_classifier(common.classifier, torch.device("cpu"))
    judge = build(configuration("infiller=ca").infiller)
    photos = samples_of(common, classifier, arguments.photos)
    curves: dict[str, list[dict[str, float]]] = {}
    for setting in arguments.settings:
        # After the setting, so that the photos and the target are the same for all.
        cfg = configuration(*SETTINGS[setting], *arguments.data)
        curves[setting] = means(
            [looks(cfg, classifier, judge, sample, arguments.looks) for sample in photos]
        )
        last = curves[setting][-1]
        print(f"| {setting} | " + " | ".join(f"{last[n]:.3g}" for n in ("rows", *CURVES)) + " |")
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_json(arguments.out / "convergence.json", {"photos": len(photos), "curves": curves})
    path = save_figure(draw(curves, len(photos)), arguments.out / "convergence.png")
    print(f"written: {path}")


if __name__ == "__main__":
    main()
