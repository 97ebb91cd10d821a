"""Agreement of maps, and classifiers with randomised layers."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.feature import hog
from torch import nn
from torchmetrics.functional import spearman_corrcoef
from torchmetrics.functional.image import structural_similarity_index_measure

from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.randomised import randomised
from fido.metrics.functional.map_similarity import (
    correlation,
    hog_correlation,
    scaled,
    spearman,
    ssim,
)
from fido.metrics.model_randomization import ModelRandomization
from fido.metrics.sensitivity import Sensitivity


def maps(n, size=(64, 80), seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 1, 6, 8, generator=generator)
    return list(nn.functional.interpolate(coarse, size, mode="bilinear"))


def test_spearman_agrees_with_scipy_and_torchmetrics_also_on_ties():
    for rounded in (False, True):
        a, b = (m[0].double().numpy() for m in maps(2))
        if rounded:
            a, b = a.round(0), b.round(1)
        assert spearman(a, b) == pytest.approx(spearmanr(a, b, axis=None).statistic, abs=1e-9)
    theirs = spearman_corrcoef(torch.from_numpy(a).flatten(), torch.from_numpy(b).flatten())
    assert spearman(a, b) == pytest.approx(float(theirs), abs=1e-4)


def test_ssim_is_nearly_that_of_torchmetrics():
    a, b = maps(2)
    theirs = structural_similarity_index_measure(
        a.unsqueeze(0), b.unsqueeze(0), gaussian_kernel=False, kernel_size=5, data_range=2.0
    )
    # scikit-image divides a window's variance by 24, torchmetrics by 25.
    assert ssim(a[0].double().numpy(), b[0].double().numpy()) == pytest.approx(
        float(theirs), abs=5e-3
    )


def test_ssim_of_one_window_is_the_formula():
    a, b = np.random.default_rng(0).normal(size=(2, 5, 5))
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    covariance = np.cov(a.ravel(), b.ravel())
    expected = (
        (2 * a.mean() * b.mean() + c1)
        * (2 * covariance[0, 1] + c2)
        / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2))
    )
    assert ssim(a, b) == pytest.approx(expected)


def test_hog_correlation_is_pearsons_of_the_vectors():
    a, b = (m[0].double().numpy() for m in maps(2))
    vectors = [
        hog(m, orientations=9, pixels_per_cell=(16, 16), cells_per_block=(3, 3)) for m in (a, b)
    ]
    assert hog_correlation(a, b) == pytest.approx(np.corrcoef(*vectors)[0, 1])
    with pytest.raises(ValueError, match="48"):
        hog_correlation(a[:40], b[:40])


def test_equal_maps_agree_fully_and_unit_does_not_matter():
    a = maps(1)[0]
    values = Sensitivity().score("x", [a, 7 * a, 0.01 * a]).values
    spread = {"ssim_var": 0, "hog_var": 0, "spearman_var": 0}
    assert values == pytest.approx({"ssim": 1, "hog": 1, "spearman": 1, **spread}, abs=1e-6)


def test_the_score_is_the_mean_over_pairs():
    a, b, c = maps(3)
    metric = Sensitivity(normalise="none")
    pairs = [metric.score("x", pair).values for pair in ([a, b], [a, c], [b, c])]
    together = metric.score("x", [a, b, c]).values
    for name in ("ssim", "hog", "spearman"):
        assert together[name] == pytest.approx(sum(pair[name] for pair in pairs) / 3)
    with pytest.raises(ValueError, match="two or more"):
        metric.score("x", [a])


def test_constant_and_non_finite_maps_have_defined_agreement():
    zero, nan, other = torch.zeros(1, 64, 80), torch.full((1, 64, 80), math.nan), maps(1)[0]
    same = Sensitivity().score("x", [zero, nan]).values
    assert same == pytest.approx(
        {"ssim": 1, "hog": 1, "spearman": 1, "ssim_var": 0, "hog_var": 0, "spearman_var": 0}
    )
    different = Sensitivity().score("x", [zero, other]).values
    assert different["spearman"] == 0
    assert different["hog"] == 0
    assert math.isfinite(different["ssim"])
    assert correlation(np.ones(4), np.ones(4) * 3) == 1
    assert np.all(scaled(zero) == 0)


def gradient_map(classifier, image):
    """A map that depends on the weights."""
    image = image.clone().requires_grad_(True)
    classifier(image)[:, 0].sum().backward()
    return image.grad[0].abs().mean(0, keepdim=True)


def test_maps_of_a_randomised_classifier_are_told_apart():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 5, stride=2), nn.ReLU(),
        nn.Flatten(), nn.Linear(8 * 13 * 13, 10),
    )  # fmt: skip
    image = torch.rand(1, 3, 64, 64)
    classifier = Classifier(network, (64, 64))
    network = classifier.network  # a copy
    before = gradient_map(classifier, image)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    edges = maps(1, (64, 64))[0]
    metric = ModelRandomization()
    assert metric.score("x", before, before).values == pytest.approx(
        {"spearman": 1, "spearman_abs": 1, "ssim": 1}
    )
    assert metric.score("x", edges, edges).values["spearman"] == pytest.approx(1)
    random_state = torch.get_rng_state()
    randomised(classifier, 1, seed=3)
    assert torch.equal(torch.get_rng_state(), random_state)
    changed = [name for name in state if not torch.equal(state[name], network.state_dict()[name])]
    assert changed == ["5.weight", "5.bias"]
    first = network.state_dict()["5.weight"].clone()
    randomised(classifier, 3, seed=3)
    assert all(not torch.equal(state[name], network.state_dict()[name]) for name in state)
    randomised(classifier, 1, seed=3)
    assert torch.equal(first, network.state_dict()["5.weight"])
    assert not any(p.requires_grad for p in classifier.parameters())
    assert metric.score("x", before, gradient_map(classifier, image)).values["spearman"] < 0.8
    with pytest.raises(ValueError, match="0 to 3"):
        randomised(classifier, 4)


def test_randomised_counts_the_layers_of_a_real_network():
    classifier = efficientnet_lite(weights=None)
    state = {name: t.clone() for name, t in classifier.network.state_dict().items()}
    randomised(classifier, 2)
    changed = {
        name.rsplit(".", 1)[0]
        for name, t in classifier.network.state_dict().items()
        if not torch.equal(t, state[name])
    }
    assert "classifier" in changed
    with pytest.raises(ValueError, match="0 to 99"):
        randomised(classifier, 1000)
