"""The masking network: architecture, training, and the explainer that uses it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from configurations import command_config, explain_config
from hydra.utils import instantiate
from planted import planted_classifier, planted_sample
from safetensors.torch import load_file, save_file
from small_training import StopAt, fit
from torch.nn import functional

from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.encoder import FeatureEncoder
from fido.explainers.realtime import MaskingNetworkExplainer
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.networks.masking_unet import MaskingUNet
from fido.training.mask_loss import HingeLoss, PaperLoss
from fido.training.masking_network import MaskingNetworkTraining

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def classifier():
    torch.manual_seed(0)
    return efficientnet_lite(weights=None)


def small_network(**settings):
    torch.manual_seed(1)
    return MaskingUNet(widths=(8, 16, 16), **settings)


def pictures(n, seed=0, size=64):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 8, 8, generator=generator)
    return functional.interpolate(coarse, (size, size), mode="bilinear")


def training(classifier, **settings):
    options = {
        "references": [MeanInfiller(), RandomInfiller()],
        "loss": HingeLoss(),
        "steps": 6,
        "warmup": 2,
        "ema_decay": 0.9,
        **settings,
    }
    return MaskingNetworkTraining(
        network=small_network(confidence=-3.0),  # random weights speak softly for any class
        classifier=classifier,
        batches=lambda step: pictures(4, step),
        validation_images=pictures(3, 999),
        **options,
    )


def test_encoder_features_are_those_the_logits_come_from(classifier):
    image = pictures(2, size=96)
    encoded = FeatureEncoder(classifier)(image)
    assert [tuple(f.shape[1:]) for f in encoded.features] == [
        (24, 24, 24),
        (40, 12, 12),
        (112, 6, 6),
    ]
    torch.testing.assert_close(encoded.logits, classifier(image), rtol=1e-4, atol=1e-5)
    target = torch.tensor([5, 900])
    activation = FeatureEncoder(classifier).activation(encoded.deep, target)
    assert activation.shape == (2, 1, 3, 3)
    logit = encoded.logits.gather(1, target[:, None])
    torch.testing.assert_close(activation.mean((1, 2, 3))[:, None], logit, rtol=1e-4, atol=1e-5)


def test_encoder_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="EfficientNet"):
        FeatureEncoder(planted_classifier())


@pytest.mark.parametrize("size", [(64, 64), (72, 100), (65, 97)])
def test_masks_at_a_quarter_of_any_size(classifier, size):
    image = functional.interpolate(pictures(2), size)
    encoder, network = FeatureEncoder(classifier), small_network()
    encoded = encoder(image)
    activation = encoder.activation(encoded.deep, torch.tensor([1, 2]))
    keep = network(encoded.features, encoded.deep, activation)
    assert keep.shape == (2, 1, -(-size[0] // 4), -(-size[1] // 4))
    assert float(keep.detach().min()) > 0
    assert float(keep.detach().max()) < 1
    alone = network([f[1:] for f in encoded.features], encoded.deep[1:], activation[1:])
    torch.testing.assert_close(alone, keep[1:], rtol=1e-4, atol=1e-5)


def test_a_closed_gate_hides_the_deep_features(classifier):
    encoded = FeatureEncoder(classifier)(pictures(1))
    network, low = small_network(), torch.full((1, 1, 2, 2), -100.0)
    other = network(encoded.features, torch.randn_like(encoded.deep), low)
    assert torch.equal(network(encoded.features, encoded.deep, low), other)
    opened = network(encoded.features, encoded.deep, -low)
    assert not torch.equal(opened, other)


@pytest.mark.parametrize("loss", [HingeLoss(), PaperLoss(area=1.0)])
def test_a_few_steps_on_fixed_data_lower_the_loss(classifier, loss):
    module = training(classifier, loss=loss, references=[MeanInfiller()])
    image = pictures(4)
    optimizer = torch.optim.AdamW(module.network.parameters(), lr=3e-3)
    values = []
    for _ in range(25):
        terms = module.terms(image, "fixed")
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        values.append(float(terms["loss"].detach()))
    assert values[-1] < 0.8 * values[0]


class Bright(torch.nn.Module):
    """Logits of two classes from one planted feature: brightness of the cells of a 32 px grid."""

    def __init__(self):
        super().__init__()
        self.classifier = torch.nn.Linear(1, 2)
        with torch.no_grad():
            self.classifier.weight.copy_(torch.tensor([[-40.0], [40.0]]))
            self.classifier.bias.copy_(torch.tensor([1.5, -1.5]))

    def forward_intermediates(self, x):
        grey = x.mean(1, keepdim=True)
        stages = [functional.avg_pool2d(grey, side) for side in (4, 8, 16)]
        return (functional.avg_pool2d(grey, 16) - 0.2).relu(), stages[:2]

    def forward_head(self, deep):
        return self.classifier(deep.mean((2, 3)))

    def forward(self, x):
        return self.forward_head(self.forward_intermediates(x)[0])


def spots(n, seed):
    """Dark images with one bright square of 16 px each, on the grid."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.full((n, 3, 64, 64), 0.2)
    places = torch.randint(0, 4, (n, 2), generator=generator).tolist()
    for row, (y, x) in enumerate(places):
        image[row, :, 16 * y : 16 * y + 16, 16 * x : 16 * x + 16] = 0.9
    return image


def test_a_trained_network_draws_planted_evidence():
    grid = Classifier(Bright(), 64, mean=(0, 0, 0), std=(1, 1, 1))
    torch.manual_seed(0)
    module = MaskingNetworkTraining(
        network=MaskingUNet(skips=(1, 1), deep=1, widths=(16, 16), confidence=3.0),
        classifier=grid,
        batches=lambda step: spots(8, step),
        validation_images=spots(8, 999),
        references=[MeanInfiller((0.2, 0.2, 0.2))],
        loss=HingeLoss(),
        steps=150,
        fake_share=0.0,
    )
    optimizer = torch.optim.AdamW(module.network.parameters(), lr=3e-3)
    for step in range(150):
        loss = module.terms(spots(8, step), str(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    image = spots(8, 12345)
    encoded = module.encoder(image)
    keep = module.draw(module.network, encoded, torch.ones(8, dtype=torch.long)).detach()
    shown = (functional.avg_pool2d(image.mean(1, keepdim=True), 4) > 0.5).float()
    around = functional.max_pool2d(shown, 3, stride=1, padding=1)
    assert float((keep * shown).sum() / shown.sum()) > 0.9
    # One cell of 4 px around the square is what bilinear upsampling needs to cover its edge.
    assert float((keep * (1 - around)).sum() / (1 - around).sum()) < 0.05


def test_an_interrupted_training_goes_on_exactly(classifier, tmp_path):
    fit(tmp_path / "whole", training(classifier, steps=4), 4)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / "parts", training(classifier, steps=4), 4, StopAt(2))
    fit(tmp_path / "parts", training(classifier, steps=4), 4)
    whole, parts = (load_file(tmp_path / name / "ema.safetensors") for name in ("whole", "parts"))
    assert set(whole) == set(small_network().state_dict())
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-5, atol=1e-7)


def test_frozen_networks_are_not_part_of_a_checkpoint(classifier, tmp_path):
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    module = fit(tmp_path, training(classifier, steps=2), 2)
    checkpoint = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert {key.split(".")[0] for key in checkpoint["state_dict"]} == {"network", "ema"}
    assert any(key.startswith("encoder.") for key in module.state_dict())
    for name, value in classifier.state_dict().items():
        assert torch.equal(before[name], value)


def test_what_is_not_seen_is_random_by_step_and_never_the_seen_class(classifier):
    module = training(classifier, fake_share=0.5)
    logits = torch.zeros(200, 10)
    logits[:, 3] = 1
    target, seen, real = module.classes(logits, "7")
    assert (seen == 3).all()
    assert torch.equal(target == 3, real)
    assert 60 < int(real.sum()) < 140
    assert set(target.tolist()) == set(range(10))
    assert torch.equal(module.classes(logits, "7")[0], target)
    assert not torch.equal(module.classes(logits, "8")[0], target)


def test_the_loss_hears_of_the_class_that_is_there(classifier):
    heard = []

    def loss(keep, kept, dropped, target, real):
        heard.extend([target, real])
        return {"loss": keep.sum()}

    images = pictures(6)
    training(classifier, loss=loss, fake_share=0.5).terms(images, "3")
    target, real = heard
    assert torch.equal(target, classifier(images).argmax(1))
    assert 0 < int(real.sum()) < 6


def test_validation_says_what_masks_do(classifier):
    told = training(classifier).evaluate()
    assert set(told) == {"area", "kept", "dropped", "fake_area"}
    assert 0 < told["area"] < 1
    assert told == training(classifier).evaluate()


def test_explainer_draws_the_mask_of_the_class(classifier, tmp_path):
    network = small_network()
    save_file(network.state_dict(), tmp_path / "net.safetensors")
    blank = MaskingUNet(widths=(8, 16, 16))
    explainer = MaskingNetworkExplainer(
        classifier, classifier, blank, tmp_path / "net.safetensors", rows_per_pass=2
    )
    samples = [planted_sample((64, 96), image_id=str(i)) for i in range(3)]
    explanations = explainer.explain(samples)
    encoder = FeatureEncoder(classifier)
    encoded = encoder(samples[0].image[None])
    activation = encoder.activation(encoded.deep, torch.tensor([1]))
    keep = network(encoded.features, encoded.deep, activation)
    expected = functional.interpolate(keep, (64, 96), mode="bilinear")[0]
    for sample, explanation in zip(samples, explanations, strict=True):
        assert explanation.id == sample.id
        torch.testing.assert_close(explanation.saliency, expected.detach(), rtol=1e-4, atol=1e-5)
        assert explanation.cost == {"forward": 1, "backward": 0, "infill": 0}


def test_explainer_without_weights_says_how_to_train(classifier):
    with pytest.raises(FileNotFoundError, match="fido train model=masking_network"):
        MaskingNetworkExplainer(classifier, classifier, small_network())


def test_explainer_refuses_a_classifier_of_other_classes(classifier, tmp_path):
    save_file(small_network().state_dict(), tmp_path / "net.safetensors")
    explainer = MaskingNetworkExplainer(
        planted_classifier(), classifier, small_network(), tmp_path / "net.safetensors"
    )
    with pytest.raises(ValueError, match="1000 classes"):
        explainer.explain([planted_sample()])


def test_training_and_explainer_are_configured_alike():
    explainer = explain_config("explainer=realtime").explainer
    model = "model=masking_network"
    trained = [command_config("train", model, f"loss={x}") for x in ("hinge", "paper")]
    for config, loss in zip(trained, (HingeLoss, PaperLoss), strict=True):
        assert config.training.network == explainer.network
        assert config.training.classifier == explainer.encoder
        assert isinstance(instantiate(config.training.loss), loss)


@pytest.mark.slow
def test_the_script_trains_and_goes_on(tmp_path):
    command = [
        sys.executable,
        "train.py",
        "model=masking_network",
        f"output_dir={tmp_path}",
        "logger=csv",
        "photos.crops=[[64,2]]",
        "photos.image_size=64",
        "trainer.val_check_interval=2",
        "threads=1",
    ]
    subprocess.run([*command, "steps=2"], cwd=ROOT, check=True)
    subprocess.run([*command, "steps=4"], cwd=ROOT, check=True)
    weights = load_file(tmp_path / "ema.safetensors")
    MaskingUNet().load_state_dict(weights)
