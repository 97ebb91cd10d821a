import dataclasses

import numpy as np
import pytest
import torch
from planted import box_region, iou, planted_classifier, planted_sample

from fido.explainers.lime import Lime, cosine_distance
from fido.infillers.base import Infiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller

GREY = 51  # of 255: the background of the planted image


class AnyMask(Infiller):
    """The mean infiller without the promise that one proposal serves all masks."""

    def __init__(self):
        super().__init__()
        self.inner = MeanInfiller((0.2, 0.2, 0.2))

    def infill(self, image, keep, noise=None):
        return self.inner.infill(image, keep).clone()


class GivenSubsets(Lime):
    """Our LIME on segments and subsets that somebody else has chosen."""

    segments: torch.Tensor
    present: torch.Tensor

    def segment(self, image):
        return self.segments

    def subsets(self, image_id, count):
        return self.present


def explainer(infiller=None, kind=Lime, **settings):
    settings = {"samples": 200, "superpixels": 30, "sigma": 0.0, **settings}
    return kind(planted_classifier(gain=8.0), infiller or MeanInfiller((0.2, 0.2, 0.2)), **settings)


def blocks():
    """(40, 48) a segment for every block of 8 x 8 pixels, and its number."""
    rows, columns = torch.arange(40) // 8, torch.arange(48) // 8
    return rows[:, None] * 6 + columns


def test_planted_evidence_comes_first():
    (explanation,) = explainer().explain([planted_sample()])
    assert iou(explanation.region, box_region()) > 0.7
    assert box_region().flatten()[explanation.saliency.argmax()]


@pytest.mark.parametrize("distance", ["cosine", "image"])
def test_equals_a_loop_and_the_normal_equations(distance):
    """Ridge with an unpenalised intercept, solved in numpy from images made one by one."""
    sample, classifier = planted_sample(), planted_classifier(gain=8.0)
    lime = explainer(kind=GivenSubsets, samples=40, alpha=0.3, distance=distance, rows_per_pass=9)
    lime.segments = blocks()
    lime.present = Lime.subsets(lime, "planted", 30)
    assert bool((lime.present[0] == 1).all())
    y, weights = [], []
    for subset in lime.present:
        keep = subset.float()[blocks()]
        image = keep * sample.image + (1 - keep) * 0.2
        y.append(float(classifier(image[None]).softmax(1)[0, 1]))
        cosine = 1 - subset.sum() / (subset.norm() * 30**0.5)
        rms = (image - sample.image).square().mean().sqrt()
        d = float(cosine if distance == "cosine" else rms)
        weights.append(np.sqrt(np.exp(-(d**2) / 0.25**2)))
    design = np.c_[lime.present.numpy(), np.ones(40)]
    penalty = np.diag([0.3] * 30 + [0])
    w = np.diag(weights)
    solved = np.linalg.solve(design.T @ w @ design + penalty, design.T @ w @ np.array(y))
    expected = torch.from_numpy(solved[:30]).float()[blocks()]
    (explanation,) = lime.explain([sample])
    torch.testing.assert_close(explanation.saliency[0], expected, rtol=1e-3, atol=1e-5)
    assert explanation.cost == {"forward": 40, "backward": 0, "infill": 1}


def test_agrees_with_the_lime_package():
    """Same image, segments, subsets and gray: same coefficients."""
    lime_image = pytest.importorskip("lime.lime_image")
    classifier, sample = planted_classifier(gain=8.0), planted_sample()
    pixels = (sample.image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    eight_bit = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255
    random = np.random.RandomState(3)
    random.randint(0, high=1000)  # the package draws a seed for its own superpixels first
    subsets = random.randint(0, 2, 60 * 30).reshape(60, 30)
    subsets[0] = 1

    def predict(images):
        batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
        return classifier.probabilities(batch).numpy()

    theirs = lime_image.LimeImageExplainer(random_state=np.random.RandomState(3)).explain_instance(
        pixels,
        predict,
        labels=(1,),
        top_labels=None,
        hide_color=GREY,
        num_features=100000,
        num_samples=60,
        segmentation_fn=lambda image: blocks().numpy(),
    )
    coefficients = torch.zeros(30)
    for segment, value in theirs.local_exp[1]:
        coefficients[segment] = value
    ours = explainer(kind=GivenSubsets, samples=60)
    ours.segments, ours.present = blocks(), torch.from_numpy(subsets).double()
    (explanation,) = ours.explain([dataclasses.replace(sample, image=eight_bit)])
    torch.testing.assert_close(
        explanation.saliency[0], coefficients[blocks()], rtol=1e-4, atol=1e-6
    )


def test_lime_g_with_the_mean_infiller_is_lime():
    (gray,) = explainer().explain([planted_sample()])
    (generative,) = explainer(AnyMask()).explain([planted_sample()])
    torch.testing.assert_close(generative.saliency, gray.saliency, rtol=1e-4, atol=1e-6)
    assert gray.cost["infill"] == 1
    assert generative.cost["infill"] == 200


def test_lasso_leaves_superpixels_without_evidence_at_exactly_zero():
    (ridge,) = explainer().explain([planted_sample()])
    (lasso,) = explainer(regression="lasso", alpha=2e-3).explain([planted_sample()])
    assert float((ridge.saliency == 0).float().mean()) < 0.1
    assert float((lasso.saliency == 0).float().mean()) > 0.6
    assert iou(lasso.region, box_region()) > 0.7


def test_superpixels_are_numbered_from_zero_without_gaps(lite0):
    from fido.data.samples import SamplePhotos

    source = SamplePhotos(size=(224, 224), crop_fraction=0.875, interpolation="bilinear")
    image = source.load(source.selected()[0]).image
    segments = Lime(lite0, MeanInfiller()).segment(image)
    assert segments.shape == (224, 224)
    assert segments.unique().tolist() == list(range(int(segments.max()) + 1))
    assert 35 <= int(segments.max()) + 1 <= 60


def test_a_map_depends_neither_on_batches_nor_on_other_images():
    other = planted_sample(box=(30, 20, 44, 36), image_id="other")
    (alone,) = explainer(RandomInfiller(), samples=50).explain([planted_sample()])
    _, among = explainer(RandomInfiller(), samples=50, rows_per_pass=7).explain(
        [other, planted_sample()]
    )
    (reseeded,) = explainer(RandomInfiller(), samples=50, seed=1).explain([planted_sample()])
    torch.testing.assert_close(among.saliency, alone.saliency, rtol=0, atol=1e-6)
    assert not torch.allclose(reseeded.saliency, alone.saliency, atol=1e-4)


def test_distance_of_subsets_is_the_cosine_distance():
    present = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]).double()
    torch.testing.assert_close(cosine_distance(present), torch.tensor([0, 0.5, 1]).double())


@pytest.mark.parametrize(
    ("name", "value"),
    [("samples", 1), ("superpixels", 0), ("alpha", -1), ("regression", "ols"), ("distance", "l1")],
)
def test_wrong_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        explainer(**{name: value})
