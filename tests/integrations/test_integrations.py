"""Explainers of this package behind the interfaces of captum and Quantus."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from captum.attr import Attribution, NoiseTunnel
from captum.metrics import infidelity, sensitivity_max
from planted import BoxBrightness, box_region, iou, planted_classifier, planted_sample

from fido.classifiers.base import Classifier
from fido.explainers.baselines import GroundTruthBox
from fido.explainers.fido import Fido
from fido.explainers.integrated_gradients import IntegratedGradients
from fido.explainers.rise import Rise
from fido.explainers.sliding_patch import SlidingPatch
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.integrations.captum import FidoAttribution
from fido.integrations.quantus import explain
from fido.masks.objectives import SSR
from fido.masks.point import PointMask

GREY = MeanInfiller((0.2, 0.2, 0.2))
OTHER = (30, 20, 44, 36)


def images(*boxes):
    return torch.stack([planted_sample(box=box).image for box in boxes])


def attribution(build=None, **settings):
    classifier = planted_classifier(gain=8.0)
    build = build or partial(SlidingPatch, infiller=GREY, patch=8, stride=4)
    return FidoAttribution(build(classifier), classifier, **settings)


def bbmp(classifier):
    mask = partial(PointMask, grid=6)
    objective = SSR(sparsity=1e-3, warmup_steps=1)
    return Fido(classifier, GREY, objective, mask, samples=1, steps=4)


def test_a_tensor_gives_maps_of_its_shape_in_order():
    x = images((8, 12, 20, 28), OTHER)
    maps = attribution(batch_size=1).attribute(x, target=torch.tensor([1, 0]))
    assert maps.shape == x.shape
    assert maps.is_contiguous()
    assert torch.equal(maps[:, 0], maps[:, 2])
    (alone,) = attribution().attribute((x[:1],), target=1)
    assert torch.equal(alone[0], maps[0])
    region = maps[0, :1] > maps[0].max() / 2
    assert iou(region, box_region()) > 0.5
    # The second image's box is not where the classifier looks: no patch there costs anything.
    assert maps[1, :, :, 30:].abs().max() == 0


def test_without_a_target_the_classifiers_choice_is_explained():
    x = images((8, 12, 20, 28), OTHER)
    method = attribution()
    assert torch.equal(method.attribute(x), method.attribute(x, target=[1, 0]))


@pytest.mark.parametrize(
    "build",
    [
        bbmp,
        partial(Rise, infiller=RandomInfiller(), masks=8, grid=4),
        partial(IntegratedGradients, infiller=GREY, steps=4),
    ],
)
def test_captums_noise_tunnel_and_metrics_take_it(build):
    method, x = attribution(build), images((8, 12, 20, 28))
    assert isinstance(method, Attribution)
    torch.manual_seed(0)
    smooth = NoiseTunnel(method).attribute(x, nt_samples=3, stdevs=0.05, target=1)
    assert smooth.shape == x.shape
    assert bool(smooth.isfinite().all())

    maps = method.attribute(x, target=1)
    assert not maps.requires_grad

    def darken(inputs):
        drop = (torch.rand_like(inputs[:, :1]) < 0.5).float().expand_as(inputs) * 0.1
        return drop, inputs - drop

    error = infidelity(method.forward_func, darken, x, maps, target=1, n_perturb_samples=4)
    assert error.shape == (1,)
    assert bool(error.isfinite().all())

    change = sensitivity_max(method.attribute, x, target=1, perturb_radius=0.02)
    assert change.shape == (1,)
    assert 0 <= float(change) < 10


def test_a_map_that_adds_up_has_no_infidelity():
    classifier = planted_classifier(gain=4.0)
    method = FidoAttribution(IntegratedGradients(classifier, GREY, score="logit"), classifier)
    x = images((8, 12, 20, 28))
    # Logits are linear in the pixels here, so that (image - grey) * gradient says it all.
    gradient = method.attribute(x, target=1) / (0.9 - 0.2) / 3

    def perturb(inputs):
        change = 0.2 * torch.rand_like(inputs)
        return change, inputs - change

    error = infidelity(method.forward_func, perturb, x, gradient, target=1)
    assert float(error) < 1e-6


def test_the_same_image_has_the_same_map_wherever_it_stands():
    method = attribution(partial(Rise, infiller=RandomInfiller(), masks=10, grid=4))
    x = images((8, 12, 20, 28), OTHER, (8, 12, 20, 28))
    maps = method.attribute(x, target=1)
    assert torch.equal(maps[0], maps[2])


def test_errors_say_what_was_wrong():
    method = attribution()
    with pytest.raises(ValueError, match="3 targets for 2 images"):
        method.attribute(images((8, 12, 20, 28), OTHER), target=[1, 1, 1])
    with pytest.raises(ValueError, match=r"\(n, 3, h, w\)"):
        method.attribute(torch.rand(2, 4, 5), target=1)
    without = attribution(lambda classifier: GroundTruthBox())
    with pytest.raises(ValueError, match="no map"):
        without.attribute(images((8, 12, 20, 28)), target=1)


def sliding(classifier):
    return SlidingPatch(classifier, GREY, patch=8, stride=4)


def test_quantus_function_gives_the_explainers_maps_as_arrays():
    x = images((8, 12, 20, 28), OTHER).numpy()
    model = BoxBrightness(gain=8.0)
    maps = explain(model=model, inputs=x, targets=np.array([1, 1]), explainer=sliding, device="cpu")
    (expected,) = sliding(planted_classifier(gain=8.0)).explain([planted_sample()])
    assert maps.shape == (2, 1, 40, 48)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps[0], expected.saliency.numpy(), atol=1e-6)


def test_quantus_function_undoes_normalisation():
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 5, stride=3), torch.nn.Flatten())
    network.append(torch.nn.Linear(2 * 12 * 15, 2))
    x = images((8, 12, 20, 28))
    normalised = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    network.train()
    settings = {"explainer": sliding, "mean": mean, "std": std}
    maps = explain(model=network, inputs=normalised, targets=[1], **settings)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    classifier = Classifier(network, (40, 48), mean, std)
    (expected,) = sliding(classifier).explain([planted_sample()])
    np.testing.assert_allclose(maps[0], expected.saliency.numpy(), atol=1e-5)
    of_classifier = explain(model=classifier, inputs=x, targets=[1], explainer=sliding)
    np.testing.assert_allclose(of_classifier, maps, atol=1e-5)


def test_quantus_function_needs_an_explainer():
    with pytest.raises(ValueError, match="explain_func_kwargs"):
        explain(model=BoxBrightness(), inputs=np.zeros((1, 3, 40, 48)), targets=[1])


def test_quantus_itself():
    quantus = pytest.importorskip("quantus")
    x = images((8, 12, 20, 28), (10, 12, 20, 28)).numpy()
    metric = quantus.FaithfulnessCorrelation(
        nr_runs=5,
        subset_size=64,
        return_aggregate=False,
        disable_warnings=True,
        display_progressbar=False,
    )
    scores = metric(
        model=BoxBrightness(gain=8.0).eval(),
        x_batch=x,
        y_batch=np.array([1, 1]),
        a_batch=None,
        channel_first=True,
        explain_func=explain,
        explain_func_kwargs={"explainer": sliding},
        device="cpu",
    )
    assert len(scores) == 2
    assert np.isfinite(scores).all()


def test_neither_package_is_loaded_by_the_other_modules():
    code = (
        "import sys; import fido.runs.runner, fido.explainers.rise, fido.integrations.quantus; "
        "assert not {'captum', 'quantus'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
