"""Squares and digits with their classifiers and exact denoisers, and what counterfactuals did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import torch
from configurations import CONF
from hydra.utils import instantiate
from omegaconf import OmegaConf

from fido.classifiers.squares import squares_classifier
from fido.data.digits import Digits
from fido.data.squares import Squares, nearest_factors
from fido.diffusion.denoisers.empirical import empirical_denoiser
from fido.diffusion.regions.everywhere import Everywhere
from fido.explainers.guided_diffusion import GuidedDiffusion


@cache
def squares(every=5):
    """Every fifth image of squares, with the other side of red as target."""
    source = Squares(size=(16, 16), crop_fraction=1.0)
    found = [source.load(entry) for entry in source.selected()[::every]]
    return [replace(sample, target=1 - sample.label) for sample in found]


@cache
def squares_denoiser():
    return empirical_denoiser(Squares(size=(16, 16), crop_fraction=1.0))


@cache
def leaf(group, name):
    """What a config leaf makes that needs nothing of a run."""
    return instantiate(OmegaConf.load(CONF / group / f"{name}.yaml"))


@cache
def digits(split="test"):
    source = Digits(split=split)
    return [source.load(entry) for entry in source.selected()]


@dataclass
class Outcome:
    explanations: list
    reached: float  # share that the classifier takes for the target
    only_colour: float  # share with another side of red, at the same place on the same grey
    unchanged: float  # share of images whose factors are those of the photo
    change: float  # mean absolute, [0, 1]


def on_squares(samples=None, classifier=None, region=None, **settings):
    """Counterfactuals of squares; the gradient at the estimate unless told otherwise."""
    samples = squares() if samples is None else samples
    settings = {"variable": "x0", "steps": 50, "estimates": 0, "rows_per_pass": 128, **settings}
    explainer = GuidedDiffusion(
        classifier or squares_classifier(), squares_denoiser(), region or Everywhere(), **settings
    )
    explanations = explainer.explain(samples)
    images = [explanation.counterfactual.float() / 255 for explanation in explanations]
    truth = squares_classifier().probabilities(torch.stack(images)).argmax(1).tolist()
    before = [nearest_factors(sample.image) for sample in samples]
    after = [nearest_factors(image) for image in images]
    n = len(samples)
    pairs = list(zip(before, after, strict=True))
    return Outcome(
        explanations,
        sum(t == s.target for t, s in zip(truth, samples, strict=True)) / n,
        sum(a[:3] == b[:3] and a.label != b.label for a, b in pairs) / n,
        sum(a == b for a, b in pairs) / n,
        sum(float(e.saliency.mean()) for e in explanations) / n,
    )
