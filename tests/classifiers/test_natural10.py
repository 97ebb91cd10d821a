from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fido import weights
from fido.classifiers.folding import fold_batch_norms
from fido.classifiers.natural10 import (
    natural10_names,
    natural10_resnet,
    natural10_vit,
    small_resnet,
    small_vit,
)
from fido.data.folder import FolderPhotos
from fido.training.data import split_by_name

PHOTOS = Path(__file__).resolve().parents[3] / "shared/data/natural_train"
WNIDS = [
    *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
    *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
]
BUILD = {"natural10_resnet": natural10_resnet, "natural10_vit": natural10_vit}


def test_the_names_are_imagenets():
    assert natural10_names() == [
        *("tench", "English springer", "cassette player", "chain saw", "church"),
        *("French horn", "garbage truck", "gas pump", "golf ball", "parachute"),
    ]


@pytest.mark.parametrize("name", list(BUILD))
def test_shipped_weights_give_ten_logits_and_a_gradient_at_every_pixel(name):
    classifier = BUILD[name]()
    entry = weights.manifest()[name]
    assert entry.bytes <= 8_000_000
    assert classifier.size == (112, 112)
    image = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    logits = classifier(image)
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    (gradient,) = torch.autograd.grad(logits.amax(1).sum(), image)
    assert (gradient.abs().sum(1) > 0).float().mean() > 0.99
    assert all(not p.requires_grad for p in classifier.parameters())


@pytest.mark.parametrize("build", BUILD.values())
def test_random_weights_do_not_need_a_file_and_fold(build):
    torch.manual_seed(0)
    classifier = build(weights=None, class_names=["cat", "dog", "owl"])
    for module in classifier.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    image = torch.rand(2, 3, 112, 112)
    logits = classifier(image)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(fold_batch_norms(classifier)(image), logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("build", "network"), [(natural10_resnet, small_resnet), (natural10_vit, small_vit)]
)
def test_weights_of_a_users_own_training(tmp_path, build, network):
    own = network(num_classes=2).eval()
    save_file(own.state_dict(), tmp_path / "ema.safetensors")
    classifier = build(tmp_path / "ema.safetensors", class_names=["cat", "dog"])
    image = torch.rand(1, 3, 112, 112)
    normalised = (image - classifier.mean) / classifier.std
    torch.testing.assert_close(classifier(image), own(normalised))
    with pytest.raises(ValueError, match=r"got \(2,.*expected \(10,"):
        build(tmp_path / "ema.safetensors")


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photos are not beside the project")
@pytest.mark.parametrize(("name", "least"), [("natural10_resnet", 0.71), ("natural10_vit", 0.69)])
def test_held_out_photos_are_classified(name, least):
    files = sorted(f for wnid in WNIDS for f in PHOTOS.glob(f"{wnid}_*"))
    held_out = split_by_name([file.name for file in files], 1000)[1][::10]
    classifier = BUILD[name]()
    source = FolderPhotos(
        path=str(PHOTOS),
        size=classifier.size,
        crop_fraction=classifier.crop_fraction,
        interpolation=classifier.interpolation,
        ids=[files[i].stem for i in held_out],
    )
    images = torch.stack([source.load(entry).image for entry in source.selected()])
    labels = torch.tensor([WNIDS.index(files[i].name.partition("_")[0]) for i in held_out])
    accuracy = (classifier.probabilities(images).argmax(1) == labels).float().mean()
    assert len(labels) == 100
    assert accuracy >= least
