import dataclasses
from pathlib import Path
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite, packaged_file
from fido.classifiers.outputs import unwrap_logits
from fido.classifiers.state import load_state, read_state
from fido.classifiers.timm import timm_classifier
from fido.classifiers.torchvision import torchvision_classifier
from fido.data.boxes import BoxedPhotos
from fido.data.samples import SamplePhotos

DEV_SET = Path(__file__).resolve().parents[3] / "shared" / "data" / "imagenet_val_dev"


class Flat(nn.Module):
    def __init__(self, classes: int = 3):
        super().__init__()
        self.layer = nn.Linear(3, classes)

    def forward(self, x):
        return self.layer(x.mean((2, 3)))


def test_normalisation_happens_inside():
    network = Flat()
    classifier = Classifier(network, size=8, mean=(0.1, 0.2, 0.3), std=(0.5, 1.0, 2.0))
    image = torch.rand(2, 3, 8, 8)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 1.0, 2.0])
    normalised = (image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    torch.testing.assert_close(classifier(image), network(normalised))


def test_frozen_and_locked_in_evaluation_mode():
    classifier = Classifier(nn.Sequential(nn.BatchNorm2d(3), Flat()), size=8)
    classifier.train()
    assert not any(module.training for module in classifier.modules())
    image = torch.rand(2, 3, 8, 8, requires_grad=True)
    classifier.log_odds(image, torch.tensor([0, 1])).sum().backward()
    assert image.grad.abs().sum() > 0
    assert all(p.grad is None for p in classifier.parameters())
    assert len(classifier.class_names) == 3


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: z,
        lambda z: SimpleNamespace(logits=z),
        lambda z: {"logits": z, "features": None},
        lambda z: {"out": z},
        lambda z: (z, "aux"),
    ],
)
def test_outputs_are_unwrapped(wrap):
    logits = torch.rand(2, 5)
    assert torch.equal(unwrap_logits(wrap(logits)), logits)


def test_outputs_that_are_no_logits_are_refused():
    with pytest.raises(ValueError, match="logits"):
        unwrap_logits(torch.rand(2, 5, 7, 7))


def test_packaged_weights_classify_the_sample_photos(lite0):
    source = SamplePhotos(
        size=lite0.size, crop_fraction=lite0.crop_fraction, interpolation=lite0.interpolation
    )
    seen = {}
    for entry in source.selected():
        probabilities = lite0.probabilities(source.load(entry).image[None])[0]
        seen[entry.id] = (
            lite0.class_names[int(probabilities.argmax())],
            float(probabilities.max()),
        )
    assert {name: label for name, (label, _) in seen.items()} == {
        "coffee": "espresso",
        "chelsea": "tiger cat",
        "motorcycle": "moped",
        "china": "palace",
        "flower": "daisy",
    }
    assert seen["coffee"][1] > 0.9


@pytest.mark.parametrize("variant", [0, 1, 2])
def test_packaged_weights_fill_every_tensor_of_the_network(variant):
    classifier = efficientnet_lite(variant)
    packaged = torch.load(packaged_file(variant), weights_only=True)
    own = classifier.network.state_dict()
    assert len(own) == len(packaged)
    for ours, theirs in zip(own.values(), packaged.values(), strict=True):
        assert torch.equal(ours, theirs)
    assert classifier.size == ((224, 224), (240, 240), (260, 260))[variant]


@pytest.mark.slow
@pytest.mark.skipif(not DEV_SET.is_dir(), reason="the development images are not here")
def test_top1_on_imagenet_validation_images(lite0):
    source = BoxedPhotos(
        str(DEV_SET), size=lite0.size, resize="squash", interpolation=lite0.interpolation
    )
    entries = source.selected()
    correct = 0
    for start in range(0, len(entries), 50):
        batch = entries[start : start + 50]
        images = torch.stack([source.load(entry).image for entry in batch])
        predicted = lite0.probabilities(images).argmax(1).tolist()
        correct += sum(p == entry.label for p, entry in zip(predicted, batch, strict=True))
    assert correct / len(entries) >= 0.80


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "convnext_atto"])
def test_transformers_and_modern_cnns_pass_gradients_to_pixels(name):
    classifier = timm_classifier(name, weights=None)
    image = torch.rand(1, 3, *classifier.size, requires_grad=True)
    classifier.log_odds(image, torch.tensor([7])).sum().backward()
    assert image.grad.abs().sum() > 0
    assert len(classifier.class_names) == 1000


def test_timm_preprocessing_comes_from_the_model():
    config = timm.create_model("tf_efficientnet_lite0").pretrained_cfg
    classifier = timm_classifier("tf_efficientnet_lite0", weights=None)
    assert classifier.mean.flatten().tolist() == pytest.approx(config["mean"])
    assert classifier.interpolation == config["interpolation"]


def test_unknown_timm_model_lists_others():
    with pytest.raises(ValueError, match="resnet"):
        timm_classifier("resnet_of_tomorrow")


def test_local_files_round_trip_and_name_the_tensor_that_does_not_fit(tmp_path):
    source = torchvision_classifier("resnet18", weights=None, classes=4)
    path = tmp_path / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in source.network.state_dict().items()}, path)
    again = torchvision_classifier("resnet18", weights=str(path), classes=4)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(again(image), source(image))
    with pytest.raises(ValueError, match=r"fc\.bias.*\(4,\).*\(5,\)"):
        torchvision_classifier("resnet18", weights=str(path), classes=5)


def test_torch_checkpoints_are_unwrapped_and_code_in_them_is_not_run(tmp_path):
    network = Flat()
    torch.save({"state_dict": network.state_dict(), "epoch": 3}, tmp_path / "good.pt")
    load_state(Flat(), read_state(tmp_path / "good.pt"), "good.pt")
    torch.save(network, tmp_path / "pickled.pt")
    with pytest.raises(ValueError, match=r"pickled\.pt"):
        read_state(tmp_path / "pickled.pt")


@pytest.mark.parametrize("content", [b"", b"not weights at all"])
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_unreadable_weights_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        read_state(tmp_path / name)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pt"):
        read_state(tmp_path / "nowhere.pt")
    with pytest.raises(ValueError, match=r"layer\.bias.*missing"):
        load_state(Flat(), {"layer.weight": torch.zeros(3, 3)}, "short.pt")


def test_without_network_the_error_names_the_file_and_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    with pytest.raises(FileNotFoundError) as error:
        torchvision_classifier("alexnet", weights="IMAGENET1K_V1")
    assert "alexnet-owt-7be5be79.pth" in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "classifier.weights=" in str(error.value)


def test_unknown_weights_entry_lists_the_known():
    with pytest.raises(ValueError, match="IMAGENET1K_V2"):
        torchvision_classifier("resnet50", weights="IMAGENET1K_V9")


def test_huggingface_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    from fido.classifiers.huggingface import huggingface_classifier

    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        id2label={0: "dark", 1: "bright"},
        label2id={"dark": 0, "bright": 1},
    )
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    classifier = huggingface_classifier(str(tmp_path))
    assert classifier.size == (32, 32)
    assert classifier.class_names == ["dark", "bright"]
    assert classifier(torch.rand(2, 3, 32, 32)).shape == (2, 2)
    with pytest.raises(FileNotFoundError, match="nothing_here"):
        huggingface_classifier(str(tmp_path / "nothing_here"))


def test_bf16_stays_near_float32(lite0):
    image = SamplePhotos(size=lite0.size, limit=1)
    sample = image.load(image.selected()[0])
    rough = efficientnet_lite(0, precision="bf16")
    exact = lite0.probabilities(sample.image[None])[0]
    rounded = rough.probabilities(sample.image[None])[0]
    assert rounded.dtype == torch.float32
    assert (rounded - exact).abs().max() < 0.1


def test_wrong_precision_is_named():
    with pytest.raises(ValueError, match="bf16"):
        Classifier(Flat(), size=8, precision="fp8")


def test_sample_is_a_plain_record():
    sample = SamplePhotos(size=(8, 8), limit=1)
    loaded = sample.load(sample.selected()[0])
    assert dataclasses.replace(loaded, target=3).target == 3
