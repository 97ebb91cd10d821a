"""Gradients, integrated gradients, SmoothGrad, occlusion and Grad-CAM, which captum computes."""

import pytest
import torch
from captum.attr import NoiseTunnel, Saliency
from planted import BOX, box_region, iou, planted_classifier, planted_sample
from small_networks import BrightCells, Curved, noisy_sample, plain, wrapped

from fido.explainers.grad_cam import GradCam
from fido.explainers.gradient import Gradient
from fido.explainers.integrated_gradients import IntegratedGradients
from fido.explainers.occlusion import Occlusion
from fido.explainers.sliding_patch import SlidingPatch
from fido.explainers.smoothgrad import SmoothGrad
from fido.infillers.blur import BlurInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.runtime.noise import ImageNoise

GREY = (0.2, 0.2, 0.2)


def gradient_of(classifier, image, target, score):
    image = image.clone().requires_grad_()
    (found,) = torch.autograd.grad(score(classifier(image[None]))[0, target], image)
    return found


def test_every_map_finds_the_planted_box():
    classifier, sample = planted_classifier(gain=4.0), planted_sample()
    for explainer in (
        Gradient(classifier),
        SmoothGrad(classifier, samples=3),
        IntegratedGradients(classifier, MeanInfiller(GREY), steps=4),
    ):
        (explanation,) = explainer.explain([sample])
        assert iou(explanation.region, box_region()) == 1
    (explanation,) = Occlusion(classifier, patch=5, stride=2).explain([sample])
    assert iou(explanation.region, box_region()) > 0.7
    y, x = divmod(int(explanation.saliency.argmax()), 48)
    left, top, right, bottom = BOX
    assert top <= y < bottom
    assert left <= x < right
    (explanation,) = GradCam(plain(BrightCells())).explain([sample])
    assert iou(explanation.region, box_region()) > 0.8


@pytest.mark.parametrize(
    ("score", "of_logits"),
    [
        ("logit", lambda logits: logits),
        ("probability", lambda logits: logits.softmax(1)),
        ("log_odds", lambda logits: torch.logit(logits.double().softmax(1))),
    ],
)
def test_gradient_is_that_of_the_score_reduced_over_colours(score, of_logits):
    classifier, sample = wrapped(Curved()), noisy_sample()
    expected = gradient_of(classifier, sample.image, 1, of_logits)
    reduced = {
        "sum": expected.sum(0),
        "sum_abs": expected.abs().sum(0),
        "max_abs": expected.abs().amax(0),
    }
    for channels, values in reduced.items():
        (explanation,) = Gradient(classifier, score, channels).explain([sample])
        torch.testing.assert_close(explanation.saliency[0], values, rtol=1e-4, atol=1e-7)


def test_smoothgrad_is_a_mean_of_gradients_at_noisy_images():
    classifier, sample = wrapped(Curved()), noisy_sample()
    smooth = SmoothGrad(classifier, samples=5, noise=0.2, channels="sum", seed=4, rows_per_pass=2)
    noise = ImageNoise(4, ["noisy"], "smoothgrad").normal(5, 3, 40, 48)
    sigma = 0.2 * (sample.image.max() - sample.image.min())
    by_hand = [
        gradient_of(classifier, sample.image + sigma * draw, 1, lambda logits: logits)
        for draw in noise
    ]
    (explanation,) = smooth.explain([sample])
    torch.testing.assert_close(
        explanation.saliency[0], torch.stack(by_hand).mean(0).sum(0), rtol=1e-4, atol=1e-7
    )
    assert explanation.cost == {"forward": 5, "backward": 5, "infill": 0}


def test_smoothgrad_agrees_with_captums_noise_tunnel():
    classifier, sample = wrapped(Curved()), noisy_sample()
    torch.manual_seed(0)
    sigma = 0.3 * float(sample.image.max() - sample.image.min())
    theirs = NoiseTunnel(Saliency(classifier)).attribute(
        sample.image[None].requires_grad_(),
        nt_type="smoothgrad",
        nt_samples=200,
        stdevs=sigma,
        target=1,
        abs=False,
    )
    (ours,) = SmoothGrad(classifier, samples=200, noise=0.3, channels="sum").explain([sample])
    both = torch.stack([ours.saliency.flatten(), theirs.detach().sum(1).flatten()])
    assert float(torch.corrcoef(both)[0, 1]) > 0.97


@pytest.mark.parametrize("infiller", [MeanInfiller(), BlurInfiller(3.0), RandomInfiller()])
def test_integrated_gradients_add_up_to_the_score(infiller):
    classifier, sample = wrapped(Curved()), noisy_sample()
    explainer = IntegratedGradients(classifier, infiller, steps=60, rows_per_pass=7)
    (explanation,) = explainer.explain([sample])
    noise = ImageNoise(0, ["noisy"], "infill")
    baseline = infiller.infill(sample.image[None], torch.zeros(1, 1, 40, 48), noise)
    target = torch.tensor([1])
    expected = classifier.log_odds(sample.image[None], target)
    expected = expected - classifier.log_odds(baseline, target)
    torch.testing.assert_close(explanation.saliency.sum()[None], expected, rtol=1e-3, atol=1e-4)


def test_occlusion_equals_a_loop_over_patches():
    classifier, sample = wrapped(Curved()), noisy_sample()
    explainer = Occlusion(classifier, patch=9, stride=4, score="logit", rows_per_pass=5)
    (explanation,) = explainer.explain([sample])
    score = classifier(sample.image[None])[0, 1]
    total, covered = torch.zeros(40, 48), torch.zeros(40, 48)
    corners = [(y, x) for y in range(0, 35, 4) for x in range(0, 43, 4)]
    for y, x in corners:
        image = sample.image.clone()
        image[:, y : y + 9, x : x + 9] = classifier.mean[0]
        total[y : y + 9, x : x + 9] += score - classifier(image[None])[0, 1]
        covered[y : y + 9, x : x + 9] += 1
    torch.testing.assert_close(explanation.saliency[0], total / covered, rtol=1e-3, atol=1e-5)
    assert explanation.cost["forward"] == len(corners) + 1


def test_occlusion_of_tiles_has_the_values_of_sliding_patch():
    classifier, sample = wrapped(Curved()), noisy_sample()
    infiller = MeanInfiller(classifier.mean.flatten().tolist())
    (ours,) = SlidingPatch(classifier, infiller, patch=8, stride=8).explain([sample])
    (theirs,) = Occlusion(classifier, patch=8, stride=8).explain([sample])
    # The centre of an 8 px patch lies between pixels: the mean of two is its value.
    inner = ours.saliency[:, 3:37:8, 3:45:8], ours.saliency[:, 4:38:8, 4:46:8]
    torch.testing.assert_close(sum(inner) / 2, theirs.saliency[:, ::8, ::8], rtol=0.05, atol=2e-3)


@pytest.mark.parametrize(
    "build",
    [
        lambda c, **rest: Gradient(c, **rest),
        lambda c, **rest: SmoothGrad(c, samples=5, **rest),
        lambda c, **rest: IntegratedGradients(c, RandomInfiller(), steps=5, **rest),
        lambda c, **rest: Occlusion(c, patch=16, stride=8, **rest),
        lambda c, **rest: GradCam(c, **rest),
    ],
)
def test_a_map_depends_neither_on_batches_nor_on_other_images(build):
    classifier = wrapped(Curved())
    (alone,) = build(classifier).explain([noisy_sample()])
    _, among = build(classifier, rows_per_pass=3).explain([noisy_sample("other"), noisy_sample()])
    torch.testing.assert_close(among.saliency, alone.saliency, rtol=1e-4, atol=1e-6)
    assert not alone.saliency.requires_grad
    assert alone.saliency.dtype == torch.float32
    for module in classifier.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
    assert not any(p.requires_grad or p.grad is not None for p in classifier.parameters())


class Narrow(Curved):
    """Has memory for so many rows."""

    rows = 3

    def forward(self, x):
        if len(x) > self.rows:
            raise RuntimeError("CUDA out of memory: that is, in this test")
        return super().forward(x)


@pytest.mark.parametrize(
    "build",
    [
        lambda c: Gradient(c, rows_per_pass=8),
        lambda c: SmoothGrad(c, samples=9, rows_per_pass=8),
        lambda c: IntegratedGradients(c, MeanInfiller(), steps=9, rows_per_pass=8),
        lambda c: Occlusion(c, patch=16, stride=8, rows_per_pass=8),
        lambda c: GradCam(c, rows_per_pass=8),
    ],
)
def test_what_does_not_fit_is_done_again_in_smaller_pieces(build):
    samples = [noisy_sample(str(i)) for i in range(5)]
    explainer = build(wrapped(Narrow()))
    for narrow, wide in zip(
        explainer.explain(samples), build(wrapped(Curved())).explain(samples), strict=True
    ):
        torch.testing.assert_close(narrow.saliency, wide.saliency, rtol=1e-4, atol=1e-6)
    assert explainer.batches.size <= 3


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda c: Gradient(c, score="loss"), "score"),
        (lambda c: Gradient(c, channels="mean"), "channels"),
        (lambda c: SmoothGrad(c, samples=0), "samples"),
        (lambda c: SmoothGrad(c, noise=-1.0), "noise"),
        (lambda c: IntegratedGradients(c, MeanInfiller(), steps=0), "steps"),
        (lambda c: Occlusion(c, patch=0), "patch"),
        (lambda c: Occlusion(c, patch=4, stride=5), "stride"),
        (lambda c: Occlusion(c, patch=41).explain([planted_sample()]), "patch"),
    ],
)
def test_wrong_settings_are_named(build, name):
    with pytest.raises(ValueError, match=name):
        build(planted_classifier())
