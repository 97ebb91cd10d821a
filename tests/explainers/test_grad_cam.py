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


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "torch"])
def test_a_transformer_is_no_network_for_grad_cam(name):
    if name == "torch":
        network = vit_b_16()
        network.encoder.layers = network.encoder.layers[:1]
    else:
        network = timm.create_model(name, pretrained=False)
        blocks = network.layers if name.startswith("swin") else [network]
        for part in blocks:
            part.blocks = part.blocks[:1]
    classifier = wrapped(network, (224, 224))
    sample = planted_sample(size=(224, 224))
    with pytest.raises(ValueError, match="convolutional"):
        GradCam(classifier).explain([sample])
    for module in network.modules():
        assert not module._forward_hooks


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
