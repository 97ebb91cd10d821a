from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fido.data.folder import FolderPhotos
from fido.training.conditional_photos import ConditionalPhotos
from fido.training.photo_labels import photo_labels


@pytest.fixture
def folder(tmp_path):
    """Grey photos whose level is 10 times a class number: a 20, b 8, c 1, in that many files."""
    for label, (level, count) in {"a": (10, 20), "b": (20, 8), "c": (30, 1)}.items():
        for index in range(count):
            pixels = np.full((20, 20, 3), level, np.uint8)
            pixels[:, 0] = 2 * index  # the file's own number, on the left
            path = tmp_path / "photos" / label / f"{label}_{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


def photos(folder, **options):
    source = FolderPhotos(path=str(folder), size=(20, 20))
    given = {"labels": "prefix", "image_size": 20, "crop": 16, "batch_size": 6}
    given |= {"class_minimum": 5, "cache": folder.parent / "cache"}
    return ConditionalPhotos(source, **given | options)


LEVELS = {10: 0, 20: 1, 30: -1}


@pytest.mark.parametrize("labels", ["prefix", "folder"])
def test_every_crop_comes_with_its_own_class(folder, labels):
    made = photos(folder, labels=labels)
    assert made.classes == ["a", "b"]
    seen = set()
    for step in range(20):
        images, classes = made.batch(step)
        assert images.shape == (6, 3, 16, 16)
        levels = (images[:, 0, 8, 8] * 255).round().int().tolist()
        assert [LEVELS[level] for level in levels] == classes.tolist()
        seen |= set(classes.tolist())
    assert seen == {0, 1, -1}


def test_held_out_photos_have_a_class_and_are_never_shown(folder):
    made = photos(folder, held_out=9, crop=20, batch_size=20, validate_on=4)
    assert len(made.held_out_names) == 9
    assert not any(name.startswith("c/") for name in made.held_out_names)
    assert len(made.validation_images.images) == 4
    assert (made.validation_images.classes >= 0).all()
    held_out = {(n.split("/")[0], int(n.split("_")[1][:-4])) for n in made.held_out_names}
    shown = set()
    for step in range(10):
        images = made.batch(step).images
        edges = (images[:, 0, 5, [0, -1]] * 255).round().int()
        middle = (images[:, 0, 5, 10] * 255).round().int()
        # Mirrored photos have their number on the right.
        for edge, level in zip(edges.tolist(), middle.tolist(), strict=True):
            number = edge[0] if edge[1] == level else edge[1]
            shown.add(("abc"[level // 10 - 1], number // 2))
    assert len(shown) == 20
    assert not shown & held_out


def test_batches_are_a_function_of_seed_and_step(folder):
    first, second, other = photos(folder), photos(folder), photos(folder, seed=1)
    for step in (5, 0):
        for one, two in zip(first.batch(step), second.batch(step), strict=True):
            assert torch.equal(one, two)
    assert not torch.equal(first.batch(0).images, other.batch(0).images)


def test_class_names_set_the_indices(folder):
    made = photos(folder, class_names=["c", "a"], held_out=1)
    classes = torch.cat([made.batch(step).classes for step in range(20)])
    levels = torch.cat([made.batch(step).images[:, 0, 8, 8] for step in range(20)])
    assert set(classes.tolist()) <= {0, 1, -1}
    assert (classes[(levels * 255).round() == 10] == 1).all()
    assert (classes[(levels * 255).round() == 20] == -1).all()
    with pytest.raises(ValueError, match="no photo has the label 'z'"):
        photos(folder, class_names=["z"])


def test_without_labels_all_photos_may_be_held_out(folder):
    made = photos(folder, labels=None, held_out=28)
    assert made.classes == []
    assert (made.validation_images.classes == -1).all()
    assert (made.batch(0).classes == -1).all()


def test_labels_of_a_csv_file(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,label\none.jpg,cat\ntwo,dog\n")
    files = [Path("x/two.png"), Path("y/one.jpg"), Path("three.jpg")]
    assert photo_labels(files, str(table)) == ["dog", "cat", None]
    table.write_text("name,label\n")
    with pytest.raises(ValueError, match="expected file, label"):
        photo_labels(files, str(table))
    with pytest.raises(FileNotFoundError):
        photo_labels(files, str(tmp_path / "none.csv"))
    with pytest.raises(ValueError, match=r"photos\.labels"):
        photo_labels(files, "suffix")


def test_nothing_to_validate_on_is_refused(folder):
    with pytest.raises(ValueError, match="1 or more"):
        photos(folder, held_out=0)
    with pytest.raises(ValueError, match="held_out"):
        photos(folder, labels=None, held_out=29)
