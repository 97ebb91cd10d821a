"""Grad-CAM: by hand, and which feature maps it takes."""

import pytest
import timm
import torch
from planted import planted_sample
from small_networks import BrightCells, Curved, noisy_sample, plain, wrapped
from torch import nn
from torchvision.models import resnet18, vit_b_16

from fido.classifiers.base import Classifier
from fido.classifiers.features import last_feature_map
from fido.classifiers.layers import DeepFeatures
from fido.explainers.grad_cam import GradCam


def test_grad_cam_by_hand():
    classifier, sample = wrapped(Curved()), noisy_sample()
    network = classifier.network
    maps = network.body((sample.image - classifier.mean) / classifier.std).detach()
    maps.requires_grad_()
    logits = network.head(3 * maps.mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[0, 1], maps)
    cam = (maps * gradient.mean((2, 3), keepdim=True)).sum(1, keepdim=True).relu().detach()
    expected = nn.functional.interpolate(cam, (40, 48), mode="bilinear")
    (explanation,) = GradCam(classifier).explain([sample])
    torch.testing.assert_close(explanation.saliency, expected[0], rtol=1e-4, atol=1e-7)


def test_grad_cam_finds_the_last_feature_maps():
    image = torch.rand(1, 3, 64, 96)
    classifier = wrapped(resnet18(), (64, 96))
    assert last_feature_map(classifier, image) is classifier.network.layer4
    lite = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    classifier = wrapped(lite, (64, 96))
    assert last_feature_map(classifier, image) is classifier.network.bn2
    for module in classifier.network.modules():
        assert not module._forward_hooks


class Patches(nn.Module):
    """A convolutional network whose feature maps come out in one of three layouts."""

    def __init__(self, layout, prefix=0):
        super().__init__()
        torch.manual_seed(1)
        self.body = nn.Sequential(nn.Conv2d(3, 6, 8, stride=8), nn.Tanh())
        self.out, self.head, self.layout, self.prefix = (
            nn.Identity(),
            nn.Linear(6, 3),
            layout,
            prefix,
        )

    def forward(self, x):
        maps = self.body(x)
        if self.layout == "maps":
            return self.head(self.out(maps).square().mean((2, 3)))
        if self.layout == "channels_last":
            return self.head(self.out(maps.permute(0, 2, 3, 1)).square().mean((1, 2)))
        tokens = maps.flatten(2).transpose(1, 2)
        others = torch.full_like(tokens[:, :1], 7.0).expand(-1, self.prefix, -1)
        return self.head(
            self.out(torch.cat([others, tokens], 1))[:, self.prefix :].square().mean(1)
        )


@pytest.mark.parametrize(
    ("layout", "prefix"), [("channels_last", 0), ("tokens", 0), ("tokens", 1), ("tokens", 5)]
)
@pytest.mark.parametrize("layer", [None, "out", -1])
def test_tokens_and_channels_last_give_the_map_of_feature_maps(layout, prefix, layer):
    sample = noisy_sample()
    (expected,) = GradCam(plain(Patches("maps")), layer="out").explain([sample])
    (found,) = GradCam(plain(Patches(layout, prefix)), layer=layer).explain([sample])
    assert expected.saliency.max() > 0
    torch.testing.assert_close(found.saliency, expected.saliency)


def transformer(name):
    torch.manual_seed(0)
    if name == "torch":
        network = vit_b_16()
        network.encoder.layers = network.encoder.layers[:2]
        nn.init.normal_(network.heads.head.weight)  # zero before a training
        return network
    options = {"class_token": False, "global_pool": "avg"} if name == "avg" else {}
    if name.startswith("swin"):
        network = timm.create_model(name, pretrained=False)
        for part in network.layers:
            part.blocks = part.blocks[:1]
        return network
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, depth=2, **options)


@pytest.mark.parametrize(
    ("name", "layer", "grid"),
    [
        ("torch", "encoder.layers.encoder_layer_1.ln_1", 14),
        ("vit", "blocks.1.norm1", 14),
        ("avg", "norm", 14),
        ("swin_tiny_patch4_window7_224", "norm", 7),
    ],
)
def test_transformers_have_a_last_layer_of_patches(name, layer, grid):
    classifier = wrapped(transformer(name), (224, 224))
    sample = planted_sample(size=(224, 224))
    cam = GradCam(classifier)
    (explanation,) = cam.explain([sample])
    names = {module: name for name, module in classifier.network.named_modules()}
    assert names[cam.layer.module] == layer
    assert cam.layer.layout.grid == (grid, grid)
    assert cam.layer.layout.prefix == (name in ("torch", "vit"))
    assert explanation.saliency.isfinite().all()
    assert not any(module._forward_hooks for module in classifier.network.modules())


def test_a_network_without_places_is_refused_in_words():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 40 * 48, 2))
    with pytest.raises(ValueError, match="feature maps or tokens of patches"):
        GradCam(plain(flat)).explain([noisy_sample()])


def test_a_named_layer_without_places_is_refused_in_words():
    cam = GradCam(plain(Curved()), layer="head")
    with pytest.raises(ValueError, match=r"layer=head gives no feature maps of a 40 x 48"):
        cam.explain([noisy_sample()])
    with pytest.raises(ValueError, match="layer=9: Curved has 5 layers"):
        GradCam(plain(Curved()), layer=9).explain([noisy_sample()])


def test_grad_cam_takes_a_named_layer_and_names_a_wrong_one():
    classifier, sample = plain(BrightCells()), planted_sample()
    (explanation,) = GradCam(classifier, layer="cells").explain([sample])
    assert explanation.saliency.shape == (1, 40, 48)
    with pytest.raises(ValueError, match=r"layer.*cells, active"):
        GradCam(classifier, layer="layer4")


def test_grad_cam_of_a_bf16_network_is_float32():
    classifier = Classifier(Curved(), size=(40, 48), precision="bf16")
    (explanation,) = GradCam(classifier).explain([noisy_sample()])
    assert explanation.saliency.dtype == torch.float32


@pytest.mark.parametrize(
    ("layout", "prefix"), [("channels_last", 0), ("tokens", 0), ("tokens", 1), ("tokens", 5)]
)
@pytest.mark.parametrize("layer", ["out", -1])
def test_metrics_in_features_read_tokens_and_channels_last_as_maps(layout, prefix, layer):
    image = noisy_sample().image.unsqueeze(0)
    (expected,) = DeepFeatures(plain(Patches("maps")), ["out"])(image)
    network = plain(Patches(layout, prefix))
    found, first = DeepFeatures(network, [layer, "body.0"])(image)
    torch.testing.assert_close(found, expected)
    assert first.shape == expected.shape, "in the order in which they are named"
    assert not torch.equal(first, found)
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("torch", "encoder.layers.encoder_layer_0", (768, 14, 14)),
        ("vit", "blocks.0", (192, 14, 14)),
        ("swin_tiny_patch4_window7_224", "layers.2", (384, 14, 14)),
    ],
)
def test_metrics_in_features_take_layers_of_transformers(name, layer, shape):
    features = DeepFeatures(wrapped(transformer(name), (224, 224)), [layer])
    (found,) = features(planted_sample(size=(224, 224)).image.unsqueeze(0))
    assert found.shape == (1, *shape)


def test_a_layer_for_metrics_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"layer=9: Patches has \d+ layers of feature maps"):
        DeepFeatures(plain(Patches("tokens")), [9])(noisy_sample().image.unsqueeze(0))
