"""Where Quantus measures the same thing, it measures the same number."""

import numpy as np
import pytest
import torch
from analytic import explanation
from planted import BoxBrightness

from fido.classifiers.base import Classifier
from fido.infillers.mean import MeanInfiller
from fido.metrics.deletion import Deletion
from fido.metrics.localization import Localization
from fido.records import Sample

quantus = pytest.importorskip("quantus", reason="Quantus is not installed")

SIZE = (40, 48)
QUIET = {
    "abs": False,
    "normalise": False,
    "return_aggregate": False,
    "disable_warnings": True,
    "display_progressbar": False,
}


@pytest.fixture
def scored():
    """A sample, a map without ties, and both as Quantus takes them."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, *SIZE, generator=generator)
    image[:, 0, 0] = 0  # so that the darkest value is black
    sample = Sample("noise", image, 1, torch.tensor([[8.0, 12.0, 20.0, 28.0]]), 1)
    saliency = torch.randperm(40 * 48, generator=generator).view(1, *SIZE).float() / (40 * 48)
    inside = np.zeros((1, 1, *SIZE))
    inside[:, :, 12:28, 8:20] = 1
    arguments = {
        "model": BoxBrightness(gain=8.0).eval(),
        "x_batch": image.unsqueeze(0).numpy(),
        "y_batch": np.array([1]),
        "a_batch": saliency.unsqueeze(0).numpy(),
        "channel_first": True,
        "device": "cpu",
    }
    return sample, saliency, inside, arguments


def test_mass_and_pointing(scored):
    sample, saliency, inside, arguments = scored
    for at in ((20, 10), (2, 2)):  # the highest pixel inside the box, and outside
        saliency[0, at[0], at[1]] = 2
        arguments["a_batch"] = saliency.unsqueeze(0).numpy()
        ours = Localization().score(sample, explanation(saliency, "noise", 1)).values
        mass = quantus.RelevanceMassAccuracy(**QUIET)(**arguments, s_batch=inside)
        pointing = quantus.PointingGame(**QUIET)(**arguments, s_batch=inside)
        assert ours["mass"] == pytest.approx(float(mass[0]), abs=1e-6)
        assert ours["pointing"] == float(pointing[0])
        saliency[0, at[0], at[1]] = 0


def test_deletion_is_pixel_flipping_to_black(scored):
    sample, saliency, _, arguments = scored
    classifier = Classifier(
        arguments["model"], SIZE, mean=(0,) * 3, std=(1,) * 3, class_names=["dark", "bright"]
    )
    metric = Deletion(classifier, MeanInfiller((0.0, 0.0, 0.0)), pixels_per_step=80)
    curve = metric.score(sample, explanation(saliency, "noise", 1)).curve
    flipping = quantus.PixelFlipping(features_in_step=3 * 80, perturb_baseline="black", **QUIET)
    theirs = flipping(**arguments, softmax=True)[0]
    assert curve[1:].tolist() == pytest.approx(theirs, abs=1e-5)
