"""Folders of classes as labels, and photos of which nothing is cut."""

import pytest
import torch
from PIL import Image

from fido.classifiers.imagenet_names import imagenet_names
from fido.data.class_folders import ClassFolders, class_indices
from fido.data.folder import FolderPhotos
from fido.data.geometry import BORDER, Geometry
from fido.records import PhotoRecord


def photos(root, *places):
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / place)
    return root


def test_folders_are_labels(tmp_path):
    root = photos(tmp_path, "tabby_cat/a.png", "Dog/a.png", "Dog/more/b.png")
    source = ClassFolders(str(root), ["dog", "tabby cat", "cow"], size=(8, 8))
    found = {entry.id: source.load(entry).label for entry in source.selected()}
    assert found == {"Dog__a": 0, "Dog__more__b": 0, "tabby_cat__a": 1}


def test_folders_are_named_by_index_and_wordnet_id_too():
    assert class_indices(["0", "2"], ["dog", "cat", "cow"]) == {"0": 0, "2": 2}
    found = class_indices(["n01440764", "cassette player", "701"], imagenet_names())
    assert found == {"n01440764": 0, "cassette player": 482, "701": 701}


def test_as_many_folders_as_classes_are_taken_in_order_and_said(caplog):
    assert class_indices(["neg", "pos"], ["class 0", "class 1"]) == {"neg": 0, "pos": 1}
    assert "neg as class 0" in caplog.text


def test_a_folder_that_is_no_class_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"'catt' is no class.*\(cat\)"):
        class_indices(["catt", "dog"], ["dog", "cat", "cow"])
    with pytest.raises(ValueError, match="'5' is no class"):
        class_indices(["5"], ["dog", "cat"])
    source = ClassFolders(str(photos(tmp_path, "loose.png", "dog/a.png")), ["dog"], size=(8, 8))
    with pytest.raises(ValueError, match=r"loose\.png is in no folder"):
        source.entries()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        ClassFolders(str(tmp_path / "nowhere"), ["dog"], size=(8, 8)).entries()


@pytest.mark.parametrize(("width", "height"), [(96, 40), (30, 80), (48, 40), (7, 300), (480, 399)])
def test_a_letterbox_cuts_nothing(width, height):
    geometry = Geometry((40, 48), "letterbox", 0.5)
    image = geometry.image(Image.new("RGB", (width, height), "white"))
    assert image.shape == (3, 40, 48)
    grey = torch.tensor(BORDER).div(255).view(3, 1, 1)
    border = (image - grey).abs().amax(0) < 1e-3
    white = (image > 0.99).all(0)
    assert bool((border | white).all())
    assert float(white.float().mean()) == pytest.approx(
        width * height * min(48 / width, 40 / height) ** 2 / (40 * 48), abs=0.03
    )
    whole = torch.tensor([[0, 0, width, height]]).float()
    if min(width, height) > 10:
        left, top, right, bottom = geometry.boxes(whole, width, height)[0].round().int().tolist()
        inside = torch.zeros(40, 48, dtype=torch.bool)
        inside[top:bottom, left:right] = True
        assert (inside ^ white).float().mean() < 0.03
    rectangle = geometry.rectangle(width, height)
    record = PhotoRecord("a", "", width, height, rectangle)
    assert record.share == pytest.approx(1)


@pytest.mark.parametrize(
    ("resize", "share"), [("keep_aspect", 0.25 * 0.5), ("squash", 1), ("squash_crop", 0.25)]
)
def test_a_source_knows_how_much_was_cut(tmp_path, resize, share):
    Image.new("RGB", (96, 40)).save(tmp_path / "wide.png")
    source = FolderPhotos(str(tmp_path), size=(40, 48), crop_fraction=0.5, resize=resize)
    source.load(source.selected()[0])
    assert source.least_share == pytest.approx(share)


def test_a_folder_that_stands_for_several_classes_is_refused():
    with pytest.raises(ValueError, match=r"'crane' stands for several classes.*0, 2"):
        class_indices(["crane", "dog"], ["crane", "dog", "Crane"])
    assert class_indices(["2", "dog"], ["crane", "dog", "Crane"]) == {"2": 2, "dog": 1}
