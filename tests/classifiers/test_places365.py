"""Places365 in the formats of its authors: file lists, and the ResNet-50 checkpoint."""

import pytest
import torch
from PIL import Image
from torchvision.models import resnet50

from fido.classifiers.places365 import places365_resnet50
from fido.data.places365 import Places365Validation


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint as the authors' training script of 2017 wrote it, and the list of classes."""
    folder = tmp_path_factory.mktemp("places365")
    torch.manual_seed(0)
    network = resnet50(num_classes=365)
    state = {
        f"module.{name}": tensor
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")  # newer than the checkpoint
    }
    torch.save(
        {"epoch": 90, "arch": "resnet50", "state_dict": state, "best_prec1": 54.65},
        folder / "resnet50_places365.pth.tar",
        pickle_protocol=2,
        _use_new_zipfile_serialization=False,
    )
    lines = [f"/c/class/{index} {index}" for index in range(365)]
    lines[8] = "/a/apartment_building/outdoor 8"
    lines[0] = "/a/airfield 0"
    (folder / "categories_places365.txt").write_text("\n".join(lines) + "\n")
    return folder, network.eval()


def places(folder, **arguments):
    return places365_resnet50(
        str(folder / "resnet50_places365.pth.tar"),
        str(folder / "categories_places365.txt"),
        **arguments,
    )


def test_the_checkpoint_is_the_network_that_was_saved(files):
    folder, network = files
    classifier = places(folder, channels_last=False)
    image = torch.rand(1, 3, 64, 64)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(classifier(image), network((image - mean) / std))
    assert (classifier.size, classifier.crop_fraction) == ((224, 224), 224 / 256)
    names = classifier.class_names
    assert (len(names), names[0], names[8]) == (365, "airfield", "apartment_building/outdoor")


def test_code_in_a_checkpoint_is_not_run(files, tmp_path):
    folder, _ = files
    torch.save({"state_dict": torch.nn.Linear(1, 1)}, tmp_path / "resnet50_places365.pth.tar")
    (tmp_path / "categories_places365.txt").write_bytes(
        (folder / "categories_places365.txt").read_bytes()
    )
    with pytest.raises(ValueError, match="cannot read weights"):
        places(tmp_path)


def test_missing_files_are_named_with_their_project_and_place(files, tmp_path):
    folder, _ = files
    with pytest.raises(FileNotFoundError) as error:
        places(tmp_path)
    for word in ("resnet50_places365.pth.tar", "CSAILVision/places365", str(tmp_path)):
        assert word in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"get categories_places365\.txt"):
        places365_resnet50(str(folder / "resnet50_places365.pth.tar"), "nowhere.txt")
    (tmp_path / "val_256").mkdir()
    source = Places365Validation(str(tmp_path / "val_256"), str(tmp_path / "x"), size=(8, 8))
    with pytest.raises(FileNotFoundError, match=r"places365_val\.txt from filelist_places365"):
        source.selected()
    (tmp_path / "x").write_text("Places365_val_00000001.jpg 165\n")
    with pytest.raises(FileNotFoundError, match="none of the JPEGs"):
        source.selected()
    source.root = tmp_path / "nowhere"
    with pytest.raises(FileNotFoundError, match=r"val_256\.tar"):
        source.selected()


@pytest.mark.parametrize("line", ["/a/airfield", "/a/airfield zero", "/a/airfield 0 1"])
def test_a_list_of_classes_with_another_form_is_refused(files, tmp_path, line):
    folder, _ = files
    path = tmp_path / "categories.txt"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match="line 1"):
        places365_resnet50(str(folder / "resnet50_places365.pth.tar"), str(path))
    path.write_text("/a/airfield 0\n")
    with pytest.raises(ValueError, match="0 to 364, got 1"):
        places365_resnet50(str(folder / "resnet50_places365.pth.tar"), str(path))


def test_images_get_the_labels_of_the_list_in_its_order(tmp_path):
    (tmp_path / "val_256").mkdir()
    for number in (3, 1):
        Image.new("RGB", (256, 256), (number * 50, 0, 0)).save(
            tmp_path / "val_256" / f"Places365_val_0000000{number}.jpg"
        )
    labels = tmp_path / "places365_val.txt"
    lines = [f"Places365_val_0000000{n}.jpg {label}" for n, label in ((1, 165), (2, 7), (3, 364))]
    labels.write_text("\n".join(lines) + "\n")
    source = Places365Validation(str(tmp_path / "val_256"), str(labels), size=(16, 16))
    entries = source.selected()
    assert [(entry.id, entry.label) for entry in entries] == [
        ("Places365_val_00000001", 165),
        ("Places365_val_00000003", 364),
    ]
    sample = source.load(entries[1])
    assert sample.image.shape == (3, 16, 16)
    assert sample.boxes is None
    labels.write_text("Places365_val_00000001.jpg 365\n")
    with pytest.raises(ValueError, match=r"line 1.*below 365"):
        source.selected()
