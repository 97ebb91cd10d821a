"""Images from Python: converted where there is no doubt, else refused with what to do."""

import numpy as np
import pytest
import torch
from PIL import Image
from planted import planted_classifier, planted_sample

import fido
from fido.explainers.baselines import Center
from fido.explainers.gradient import Gradient
from fido.integrations import quantus
from fido.integrations.captum import FidoAttribution
from fido.records import Sample

PIXELS = planted_sample().image
MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
BYTES = (PIXELS * 255).round().byte()


@pytest.mark.parametrize(
    "image",
    [
        PIXELS.double(),
        BYTES,
        PIXELS[None],
        PIXELS + 5e-5,
        PIXELS.half(),
    ],
)
def test_samples_convert_types_and_batches_of_one(image):
    sample = Sample("x", image)
    assert sample.image.dtype == torch.float32
    torch.testing.assert_close(sample.image, PIXELS, atol=3e-3, rtol=0)


@pytest.mark.parametrize(
    "image",
    [
        BYTES.numpy(),
        BYTES.permute(1, 2, 0).numpy(),
        Image.fromarray(BYTES.permute(1, 2, 0).numpy()),
        PIXELS.double().numpy()[None],
        PIXELS.permute(1, 2, 0).half(),
        PIXELS.numpy().astype(">f4"),
        PIXELS.to_sparse(),
        np.ma.masked_array(PIXELS.numpy(), False),
    ],
)
def test_explain_takes_images_in_every_unambiguous_form(image):
    classifier = planted_classifier()
    classifier.crop_fraction = 1.0
    found = fido.explain(classifier, image, method="gradient")
    expected = fido.explain(classifier, PIXELS, method="gradient")
    torch.testing.assert_close(found.saliency, expected.saliency)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (PIXELS * 255, "divide 0 to 255 by 255"),
        ((PIXELS - MEAN) / STD, "do not subtract mean"),
        (PIXELS * 65535, "largest value there can be"),
        (PIXELS * torch.nan, "replace NaN"),
        (PIXELS.mul(255).int(), "torch.int32"),
        (PIXELS > 0.5, "torch.bool"),
        (PIXELS[:1], r"RGB.*\(1, 40, 48\)"),
        (torch.stack([PIXELS, PIXELS]), r"\(2, 3, 40, 48\)|batch of 2"),
    ],
)
def test_other_pixels_are_refused_with_what_to_do(image, words):
    with pytest.raises(ValueError, match=words):
        Sample("x", image)
    with pytest.raises(ValueError, match=words):
        fido.explain(planted_classifier(), image, method="gradient")


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.ma.masked_array(PIXELS.numpy(), PIXELS.numpy() > 0.5), r"image\.filled"),
        (PIXELS.to("meta"), "has no pixels"),
    ],
)
def test_pixels_that_are_not_there_are_refused(image, words):
    with pytest.raises(ValueError, match=words):
        fido.load_image(image)


@pytest.mark.parametrize("target", [-1, 2, 7])
def test_a_class_that_does_not_exist_is_named(target):
    classifier = planted_classifier()
    for call in (
        lambda: Gradient(classifier).explain([Sample("x", PIXELS, target=target)]),
        lambda: FidoAttribution(Gradient(classifier), classifier).attribute(PIXELS[None], target),
        lambda: FidoAttribution(Center(), classifier).attribute(PIXELS[None], target),
        lambda: quantus.explain(classifier, PIXELS[None], [target], explainer=Gradient),
    ):
        with pytest.raises(ValueError, match=f"target {target} is not a class index"):
            call()


@pytest.mark.parametrize("image", [(PIXELS - MEAN) / STD, PIXELS * 255, PIXELS * torch.nan])
def test_integrations_refuse_what_is_no_noise(image):
    classifier = planted_classifier()
    with pytest.raises(ValueError, match=r"pixels in \[0, 1\].*give mean= and std="):
        quantus.explain(classifier, image[None].numpy(), [1], explainer=Gradient)
    with pytest.raises(ValueError, match="normalised images"):
        FidoAttribution(Gradient(classifier), classifier).attribute(image[None], target=1)


def test_integrations_take_noise_and_undo_a_normalisation():
    classifier = planted_classifier()
    noise = 0.2 * torch.randn(PIXELS.shape, generator=torch.Generator().manual_seed(0))
    FidoAttribution(Gradient(classifier), classifier).attribute((PIXELS + noise)[None], target=1)
    normalised = ((PIXELS - MEAN) / STD)[None].numpy()
    given = {"mean": MEAN.flatten().tolist(), "std": STD.flatten().tolist()}
    found = quantus.explain(classifier, normalised, [1], explainer=Gradient, **given)
    (expected,) = Gradient(classifier).explain([Sample("x", PIXELS, target=1)])
    np.testing.assert_allclose(found[0], expected.saliency.numpy(), atol=1e-6)
