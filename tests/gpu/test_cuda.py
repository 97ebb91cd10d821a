"""CUDA against the CPU: `pytest -m gpu`, skipped without a GPU.

Random numbers of the two devices differ. What draws some is therefore compared by what it finds on
planted evidence, and what draws none pixel by pixel.
"""

from functools import partial

import pytest
import torch
from configurations import explain_config, leaves
from planted import box_region, iou, planted_classifier, planted_sample

from fido.app.instantiate import build
from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.folding import fold_batch_norms
from fido.data.samples import SamplePhotos
from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR, Both
from fido.records import Sample
from fido.runtime.noise import ImageNoise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
GPU, CPU = torch.device("cuda"), torch.device("cpu")

# Methods that draw no numbers on the device: their maps are those of the CPU up to rounding.
WITHOUT_DRAWS = {
    "bbmp": ["explainer.mask.grid=6", "explainer.steps=5"],
    "gradient": [],
    "integrated_gradients": ["explainer.steps=5"],
    "occlusion": ["explainer.patch=16"],
    "sliding_patch": ["explainer.patch=9", "explainer.stride=6"],
    "mp2": ["explainer.grid=6", "explainer.max_steps=3"],
    "center": [],
    "full": [],
    "ground_truth_box": [],
}
WITH_DRAWS = {
    "fido": ["mask.grid=10", "explainer.steps=80", "objective=ssr", "objective.sparsity=0.02"],
    "rise": ["explainer.masks=400"],
    "lime": ["explainer.samples=200"],
    "mp": ["explainer.grid=10", "explainer.steps=60"],
    "smoothgrad": ["explainer.samples=20"],
    "extremal": ["explainer.steps=60", "explainer.areas=[0.1]"],
}
# Their own infills come from weights of the user.
NOT_SHIPPED = {"deepfill", "lama", "diffusers"}


def explained(name, overrides, device):
    leaf = explain_config(f"explainer={name}", *overrides).explainer
    infiller = MeanInfiller((0.2, 0.2, 0.2)).to(device)
    shared = {"classifier": planted_classifier().to(device), "infiller": infiller, "progress": None}
    (explanation,) = build(leaf, **shared).explain([planted_sample()])
    assert explanation.saliency.device.type == "cpu"
    assert explanation.failure is None
    return explanation


@pytest.mark.parametrize("name", WITHOUT_DRAWS)
def test_maps_without_draws_are_those_of_the_cpu(name):
    there, here = (explained(name, WITHOUT_DRAWS[name], device) for device in (GPU, CPU))
    torch.testing.assert_close(there.saliency, here.saliency, atol=2e-3, rtol=1e-2)
    assert there.cost == here.cost


@pytest.mark.parametrize("name", WITH_DRAWS)
def test_maps_with_draws_find_the_same_evidence(name):
    there, here = (explained(name, WITH_DRAWS[name], device) for device in (GPU, CPU))
    pair = torch.stack([there.saliency.flatten(), here.saliency.flatten()])
    assert torch.corrcoef(pair)[0, 1] > 0.7
    assert there.saliency[box_region()].mean() > there.saliency[~box_region()].mean()


@pytest.mark.parametrize(
    "name", [n for g, n in leaves("infiller") if g == "infiller" and n not in NOT_SHIPPED]
)
def test_infillers_are_those_of_the_cpu(name):
    infiller = build(explain_config(f"infiller={name}").infiller)
    photo = SamplePhotos(size=(224, 224), limit=1)
    image = photo.load(photo.selected()[0]).image[None]
    generator = torch.Generator().manual_seed(0)
    cells = (torch.rand(4, 1, 14, 14, generator=generator) < 0.5).float()
    keep = cells.repeat_interleave(16, 2).repeat_interleave(16, 3)
    noise = {
        d: ImageNoise(0, ["a"], "infill", d) if infiller.needs_noise else None for d in (CPU, GPU)
    }
    here = infiller.infill(image, keep, noise[CPU])
    there = infiller.to(GPU).infill(image.to(GPU), keep.to(GPU), noise[GPU]).cpu()
    assert there.shape == here.shape
    if infiller.needs_noise:
        assert abs(float(there.mean() - here.mean())) < 0.05
    else:
        torch.testing.assert_close(there, here, atol=5e-3, rtol=0)


def photos(count):
    source = SamplePhotos(size=(224, 224), limit=count)
    return [Sample(s.id, s.image, target=967) for s in map(source.load, source.selected())]


def fido(classifier, **settings):
    mask = partial(ConcreteMask, grid=14, unit="cell")
    settings = {"samples": 2, "steps": 10, "learning_rate": 0.2, **settings}
    return Fido(classifier, MeanInfiller().to(GPU), Both("auto"), mask, **settings)


def test_bf16_gives_about_the_logits_of_float32():
    (sample,) = photos(1)
    exact, half = (
        fold_batch_norms(efficientnet_lite(0, precision=p)).to(GPU) for p in ("float32", "bf16")
    )
    image = sample.image[None].to(GPU)
    p, q = (classifier.probabilities(image)[0, 967] for classifier in (exact, half))
    assert float((p - q).abs()) < 0.02
    maps = [fido(c).explain([sample])[0].saliency.flatten() for c in (exact, half)]
    assert torch.corrcoef(torch.stack(maps))[0, 1] > 0.9


def test_two_images_a_fit_are_as_alone_and_repeat():
    classifier = fold_batch_norms(efficientnet_lite(0)).to(GPU)
    pair = photos(2)
    together = fido(classifier, rows_per_pass=64).explain(pair)
    for sample, explanation in zip(pair, together, strict=True):
        (alone,) = fido(classifier).explain([sample])
        torch.testing.assert_close(explanation.saliency, alone.saliency, atol=0.02, rtol=0)
    again = fido(classifier, rows_per_pass=64).explain(pair)
    for first, second in zip(together, again, strict=True):
        torch.testing.assert_close(first.saliency, second.saliency, atol=1e-3, rtol=0)


def test_numbers_belong_to_the_image_on_the_device_too():
    alone = ImageNoise(0, ["b"], "mask", GPU).uniform(3, 4)
    together = ImageNoise(0, ["a", "b"], "mask", GPU).uniform(3, 4)
    assert torch.equal(together[3:], alone)


def test_out_of_memory_halves_the_rows(caplog):
    """A fit of many images that cannot be in memory at once is made in pieces."""
    free, _ = torch.cuda.mem_get_info()
    classifier = planted_classifier().to(GPU)
    hungry = RandomInfiller().to(GPU)
    whole, infill = hungry.infill, []

    def infilled(image, keep, noise=None):
        if len(image) > 2:
            torch.empty(2 * free, dtype=torch.uint8, device=GPU)  # more than there is
        infill.append(len(image))
        return whole(image, keep, noise)

    hungry.infill = infilled
    mask = partial(ConcreteMask, grid=5, unit="cell")
    method = Fido(classifier, hungry, SSR(0.02), mask, samples=2, steps=2, rows_per_pass=64)
    samples = [planted_sample(image_id=str(i)) for i in range(8)]
    explanations = method.explain(samples)
    assert len(explanations) == 8
    assert max(infill) <= 2
    assert "out of memory" in caplog.text


def test_the_evidence_is_found_with_every_option_of_the_mask():
    for options in ({"unit": "blob", "blob_size": 4}, {"antithetic": True}, {"grids": [5, 10]}):
        mask = partial(ConcreteMask, grid=10, **options)
        grey = MeanInfiller((0.2, 0.2, 0.2)).to(GPU)
        method = Fido(planted_classifier().to(GPU), grey, SSR(0.02), mask, 4, 100, 0.1)
        (explanation,) = method.explain([planted_sample()])
        assert iou(explanation.region, box_region()) > 0.6
