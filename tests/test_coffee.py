"""What the README's picture shows: minutes of computing, so run by name."""

import dataclasses

import pytest
import torch
from configurations import explain_config

from fido.app.instantiate import build
from fido.runs.region_edit import edit_region


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_default_explanation_of_coffee_is_the_cup_and_keeps_espresso(lite0):
    config = explain_config()
    infiller = build(config.infiller)
    source = build(
        config.data,
        size=lite0.size,
        crop_fraction=lite0.crop_fraction,
        interpolation=lite0.interpolation,
    )
    sample = dataclasses.replace(source.load(source.selected()[0]), target=967)
    explainer = build(config.explainer, classifier=lite0, infiller=infiller, progress=None)
    (explanation,) = explainer.explain([sample])
    edit = edit_region(lite0, infiller, sample.image, explanation.region)
    original, kept, removed = edit.probabilities[:, 967].tolist()
    assert kept > 0.9 * original
    assert removed < 0.2 * original
    # The cup fills columns 25 to 180 and rows 5 to 150 of the photo.
    cup = torch.zeros_like(explanation.region)
    cup[:, 5:150, 25:180] = True
    inside = explanation.saliency[cup].mean()
    assert inside > 1.5 * explanation.saliency[~cup].mean()
