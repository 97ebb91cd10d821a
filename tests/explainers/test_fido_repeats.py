"""Repeated maps: what they vary by, and regions at a confidence; and stopping early."""

import dataclasses
from functools import partial

import pytest
import torch
from planted import BOX, BoxBrightness, box_region, planted_classifier, planted_sample
from torch import nn

from fido.classifiers.base import Classifier
from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR, Both
from fido.masks.patience import Patience
from fido.masks.uncertainty import averaged, lower_bound
from fido.report.uncertainty_figure import uncertainty_figure
from fido.runs.result_file import ResultFile, write_result

GREY = MeanInfiller((0.2, 0.2, 0.2))


def explainer(objective, infiller=GREY, classifier=None, **settings):
    settings = {"steps": 60, "samples": 4, "learning_rate": 0.1, **settings}
    mask = partial(ConcreteMask, grid=(10, 12), unit="cell")
    return Fido(classifier or planted_classifier(), infiller, objective, mask, **settings)


class WithNoise(nn.Module):
    """The box, and an equal part for every other pixel that an image of grey neither adds to nor
    takes from on average when it is filled with random grey."""

    def __init__(self):
        super().__init__()
        self.box = BoxBrightness()

    def forward(self, x):
        logits = self.box(x)
        score = logits[:, 1] + 0.02 * ((x - 0.5) * (~box_region())).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(score), score], 1)


def test_evidence_is_certain_and_a_pixel_that_does_not_matter_is_not():
    classifier = Classifier(WithNoise(), (40, 48), (0, 0, 0), (1, 1, 1))
    image = torch.full((3, 40, 48), 0.5)
    left, top, right, bottom = BOX
    image[:, top:bottom, left:right] = 0.9
    sample = dataclasses.replace(planted_sample(), image=image)
    fido = explainer(SSR(0.0), RandomInfiller(), classifier, repeats=6)
    (explanation,) = fido.explain([sample])
    inside, outside = (explanation.standard_error[region] for region in (_core(), ~box_region()))
    assert inside.max() < 0.02
    assert outside.median() > 5 * inside.max()
    mean = explanation.keep_prob
    assert mean[_core()].min() > 0.8
    assert 0.3 < mean[~box_region()].mean() < 0.7

    sure = dataclasses.replace(
        explanation, saliency=lower_bound(mean, explanation.standard_error, 0.95, 6)
    )
    assert bool(sure.region[_core()].all())
    unsure = (explanation.region & ~box_region()).float().sum()
    assert (sure.region & ~box_region()).float().sum() < 0.5 * unsure


def _core():
    """Pixels of the box whose cells lie in it as a whole, upsampling included."""
    core = torch.zeros(1, 40, 48, dtype=torch.bool)
    left, top, right, bottom = BOX
    core[:, top + 4 : bottom - 4, left + 4 : right - 4] = True
    return core


def test_repeats_are_the_runs_of_their_own_and_their_mean_is_the_map():
    fido = explainer(SSR(0.02), RandomInfiller(), steps=10, repeats=3)
    samples = [planted_sample(), planted_sample(image_id="other")]
    first, other = fido.explain(samples)
    names = ["planted", "planted#repeat1", "planted#repeat2"]
    alone = explainer(SSR(0.02), RandomInfiller(), steps=10)
    maps = torch.stack([alone.explain([planted_sample(image_id=n)])[0].keep_prob for n in names])
    torch.testing.assert_close(first.keep_prob, maps.mean(0), atol=1e-5, rtol=0)
    expected = maps.var(0).div(3).sqrt()
    torch.testing.assert_close(first.standard_error, expected, atol=1e-5, rtol=0)
    assert first.cost["forward"] == other.cost["forward"] == 3 * 10 * 4
    assert first.history["loss"].shape == (10,)


@pytest.mark.parametrize(("vary", "same"), [("masks", "infill"), ("infills", "mask")])
def test_one_source_of_randomness_at_a_time(vary, same):
    """What is not varied is drawn alike, so that a certain part of the map has no error."""
    fido = explainer(SSR(0.02), RandomInfiller(), steps=4, repeats=2, repeats_vary=vary)
    (explanation,) = fido.explain([planted_sample()])
    (everything,) = explainer(SSR(0.02), RandomInfiller(), steps=4, repeats=2).explain(
        [planted_sample()]
    )
    assert explanation.standard_error.max() > 0
    assert not torch.equal(explanation.standard_error, everything.standard_error)
    if vary == "masks":  # an infiller that draws nothing leaves the masks as the only source
        pair = [
            explainer(SSR(0.02), steps=4, repeats=2, repeats_vary=v).explain([planted_sample()])[0]
            for v in ("masks", "all")
        ]
        assert torch.equal(pair[0].keep_prob, pair[1].keep_prob)


def test_region_at_a_confidence_lies_in_that_of_the_mean():
    fido = explainer(SSR(0.02), steps=20, repeats=4)
    (mean,) = fido.explain([planted_sample()])
    (sure,) = explainer(SSR(0.02), steps=20, repeats=4, confidence=0.95).explain([planted_sample()])
    assert torch.equal(mean.keep_prob, sure.keep_prob)
    bound = (mean.keep_prob - 2.3534 * mean.standard_error).clamp(min=0)  # t of 3 degrees
    torch.testing.assert_close(sure.saliency, bound, atol=1e-4, rtol=0)
    assert not bool((sure.region & ~mean.region).any())


def test_a_single_map_has_no_error():
    (explanation,) = explainer(SSR(0.02), steps=2).explain([planted_sample()])
    assert explanation.standard_error is None
    assert averaged(torch.ones(1, 1, 2, 2))[1] is None


def test_the_error_is_stored(tmp_path):
    (explanation,) = explainer(SSR(0.02), steps=2, repeats=2).explain([planted_sample()])
    path = tmp_path / "planted.class1.seed0.safetensors"
    write_result(path, planted_sample(), explanation, {"label": 1})
    assert torch.equal(ResultFile(path).explanation().standard_error, explanation.standard_error)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"repeats": 0}, "repeats"),
        ({"confidence": 0.9}, "confidence.*repeats"),
        ({"repeats": 3, "confidence": 1.0}, "confidence"),
        ({"repeats": 3, "repeats_vary": "infills"}, "MeanInfiller draws no numbers"),
        ({"repeats_vary": "seeds"}, "repeats_vary"),
        ({"patience": 0}, "patience"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        explainer(SSR(0.02), **settings)


def test_patience_waits_for_the_region_not_for_the_map():
    empty, region = torch.zeros(2, 1, 1, 4, 25, dtype=torch.bool)
    region[..., :2, :] = True  # 50 pixels
    grown = region.clone()
    grown[..., 2, 0] = True  # 1 of 51
    larger = grown.clone()
    larger[..., 2, 1:3] = True
    patience = Patience(3, 1)
    told = [patience.settled(r, i) for i, r in enumerate([empty] * 4 + [region, grown, region])]
    assert told == [[False]] * 7
    assert patience.settled(grown, 7) == [True]
    assert patience.settled(larger, 8) == [False]


@pytest.mark.parametrize("objective", [SSR(0.02), Both("auto")])
def test_an_image_that_has_settled_is_done_and_leaves_the_others_alone(objective):
    """One stops before the other, which goes on as if it were alone."""
    easy = planted_sample(image_id="easy")
    hard = dataclasses.replace(planted_sample(image_id="hard"), image=0.75 * easy.image)
    fido = explainer(objective, RandomInfiller(), steps=100, patience=16)
    together = fido.explain([easy, hard])
    every = explainer(objective, RandomInfiller(), steps=100).explain([easy, hard])
    for sample, stopped, full in zip([easy, hard], together, every, strict=True):
        steps = len(stopped.history["loss"])
        assert len(full.history["loss"]) == 100
        assert (stopped.cost["forward"] < full.cost["forward"]) == (steps < 100)
        (alone,) = fido.explain([sample])
        assert len(alone.history["loss"]) == steps
        torch.testing.assert_close(alone.saliency, stopped.saliency, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            stopped.history["loss"], full.history["loss"][:steps], atol=1e-3, rtol=1e-4
        )
    lengths = [len(explanation.history["loss"]) for explanation in together]
    assert min(lengths) < 100
    assert lengths[0] != lengths[1]


def test_the_figure_shows_the_error_and_what_is_undecided():
    fido = explainer(SSR(0.02), steps=8, repeats=3)
    (explanation,) = fido.explain([planted_sample()])
    figure = uncertainty_figure(planted_sample(), explanation)
    error = figure.axes[1]
    assert torch.equal(
        torch.as_tensor(error.images[0].get_array().data), explanation.standard_error[0]
    )
    undecided = (explanation.keep_prob - 0.5).abs() < 1.6449 * explanation.standard_error
    assert f"{float(undecided.float().mean()):.1%}" in error.get_title()
    (single,) = explainer(SSR(0.02), steps=2).explain([planted_sample()])
    with pytest.raises(ValueError, match="repeats"):
        uncertainty_figure(planted_sample(), single)
