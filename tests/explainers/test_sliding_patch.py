import pytest
import torch
from planted import BOX, planted_classifier, planted_sample

from fido.explainers.sliding_patch import SlidingPatch
from fido.infillers.base import Infiller
from fido.infillers.blur import BlurInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller

GREY = (0.2, 0.2, 0.2)


class AnyMask(Infiller):
    """Another infiller's proposals without the promise that one serves all masks."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def infill(self, image, keep, noise=None):
        return self.inner.infill(image, keep).clone()


def explainer(infiller=None, gain=8.0, **settings):
    settings = {"patch": 7, "stride": 2, **settings}
    return SlidingPatch(planted_classifier(gain=gain), infiller or MeanInfiller(GREY), **settings)


def drops_one_by_one(sample, fill, patch, stride):
    """p(x) - p(patch filled), patch after patch."""
    classifier, (_, h, w) = planted_classifier(gain=8.0), sample.image.shape

    def p(image):
        return classifier(image.unsqueeze(0)).softmax(1)[0, 1]

    drops = []
    for top in range(0, h - patch + 1, stride):
        drops.append([])
        for left in range(0, w - patch + 1, stride):
            image = sample.image.clone()
            tile = (slice(None), slice(top, top + patch), slice(left, left + patch))
            image[tile] = fill[tile]
            drops[-1].append(p(sample.image) - p(image))
    return torch.tensor(drops)


def test_every_patch_centre_holds_the_loss_of_its_patch():
    """Against a loop over patches, infiller called or not: SP-G with the mean infiller is SP."""
    sample = planted_sample()
    for infiller in (MeanInfiller(GREY), BlurInfiller(2.0)):
        fill = infiller.infill(sample.image[None], torch.zeros(1, 1, 40, 48))[0]
        drops = drops_one_by_one(sample, fill, 7, 3)
        (tiled,) = explainer(infiller, stride=3, rows_per_pass=13).explain([sample])
        (mixed,) = explainer(AnyMask(infiller), stride=3).explain([sample])
        for explanation in (tiled, mixed):
            rows, columns = drops.shape
            at_centres = explanation.saliency[0, 3 : 3 + 3 * rows : 3, 3 : 3 + 3 * columns : 3]
            torch.testing.assert_close(at_centres, drops, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(tiled.saliency, mixed.saliency, rtol=1e-4, atol=1e-6)
        patches = drops.numel()
        assert tiled.cost == {"forward": patches + 1, "backward": 0, "infill": 1}
        assert mixed.cost == {"forward": patches + 1, "backward": 0, "infill": patches}


def test_planted_evidence_comes_first():
    (explanation,) = explainer().explain([planted_sample()])
    peak = int(explanation.saliency.argmax())
    y, x = divmod(peak, 48)
    left, top, right, bottom = BOX
    assert top <= y < bottom
    assert left <= x < right
    inside = explanation.saliency[:, top:bottom, left:right]
    assert float(inside.mean()) > 20 * float(explanation.saliency[:, :, 32:].abs().max())
    assert 0 < float(explanation.region.float().mean()) < 0.2
    assert explanation.threshold == pytest.approx(float(explanation.saliency.max()) / 2)


def test_values_are_bilinear_between_centres_and_constant_outside():
    (explanation,) = explainer(patch=9, stride=4).explain([planted_sample()])
    saliency = explanation.saliency[0]
    torch.testing.assert_close(saliency[12, 14], (saliency[12, 12] + saliency[12, 16]) / 2)
    assert bool((saliency[:5, 20] == saliency[4, 20]).all())
    (stretched,) = explainer(patch=9, stride=4, alignment="stretch").explain([planted_sample()])
    assert not torch.allclose(stretched.saliency, explanation.saliency, atol=1e-3)


def test_agrees_with_captums_occlusion():
    attribution = pytest.importorskip("captum.attr")
    sample, patch, stride = planted_sample(), 6, 2
    classifier = planted_classifier(gain=8.0)
    (ours,) = explainer(patch=patch, stride=stride).explain([sample])
    theirs = attribution.Occlusion(classifier.probabilities).attribute(
        sample.image[None],
        sliding_window_shapes=(3, patch, patch),
        strides=(3, stride, stride),
        baselines=torch.full((1, 3, 40, 48), 0.2),
        target=1,
    )[0, 0]
    # Captum gives a pixel the mean over the patches that cover it; ours has one value a patch.
    drops = drops_one_by_one(sample, torch.full((3, 40, 48), 0.2), patch, stride)
    total, covering = torch.zeros(40, 48), torch.zeros(40, 48)
    for i, j in torch.ones_like(drops).nonzero().tolist():
        tile = (slice(2 * i, 2 * i + patch), slice(2 * j, 2 * j + patch))
        total[tile] += drops[i, j]
        covering[tile] += 1
    torch.testing.assert_close(total / covering, theirs.float(), rtol=1e-4, atol=1e-5)
    # An even patch has its centre between pixels: pixel (15, 13) is patch (6.25, 5.25).
    weights = torch.tensor([[0.75], [0.25]]) * torch.tensor([0.75, 0.25])
    expected = (weights * drops[6:8, 5:7]).sum()
    torch.testing.assert_close(ours.saliency[0, 15, 13], expected, rtol=1e-4, atol=1e-6)


def test_with_patches_side_by_side_our_centres_are_captums_pixels():
    attribution = pytest.importorskip("captum.attr")
    sample, classifier = planted_sample((35, 49)), planted_classifier((35, 49), gain=8.0)
    explain = SlidingPatch(classifier, MeanInfiller(GREY), patch=7, stride=7).explain
    theirs = attribution.Occlusion(classifier.probabilities).attribute(
        sample.image[None],
        sliding_window_shapes=(3, 7, 7),
        strides=(3, 7, 7),
        baselines=0.2,
        target=1,
    )[0, :1]
    torch.testing.assert_close(
        explain([sample])[0].saliency[:, 3::7, 3::7],
        theirs[:, 3::7, 3::7].float(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_a_map_depends_neither_on_batches_nor_on_other_images():
    other = planted_sample(box=(30, 20, 44, 36), image_id="other")
    (alone,) = explainer(RandomInfiller(), stride=5, seed=3).explain([planted_sample()])
    _, among = explainer(RandomInfiller(), stride=5, seed=3, rows_per_pass=7).explain(
        [other, planted_sample()]
    )
    (reseeded,) = explainer(RandomInfiller(), stride=5, seed=4).explain([planted_sample()])
    torch.testing.assert_close(among.saliency, alone.saliency, rtol=0, atol=1e-6)
    assert not torch.allclose(reseeded.saliency, alone.saliency, atol=1e-3)


def test_progress_ends_at_the_number_of_patches():
    heard = []
    explainer(progress=lambda *news: heard.append(news[1:3]), rows_per_pass=50).explain(
        [planted_sample()]
    )
    patches = 17 * 21
    assert heard[0] == (50, patches)
    assert heard[-1] == (patches, patches)


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match=r"patch.*40 x 48"):
        explainer(patch=41).explain([planted_sample()])
    for name, value in (("patch", 0), ("stride", 0), ("alignment", "left")):
        with pytest.raises(ValueError, match=name):
            explainer(**{name: value})
