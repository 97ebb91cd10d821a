"""Which files are photos."""

import os

import pytest
from planted import write_photo

from fido.data.folder import FolderPhotos
from fido.data.listing import photo_files


def ids(path):
    return [entry.id for entry in FolderPhotos(path=str(path), size=(40, 48)).entries()]


def test_folders_that_are_links_are_searched_but_not_in_circles(tmp_path):
    write_photo(tmp_path / "disk" / "c.png")
    write_photo(tmp_path / "photos" / "own.png")
    (tmp_path / "photos" / "class").symlink_to(tmp_path / "disk", target_is_directory=True)
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "photos", target_is_directory=True)
    (tmp_path / "photos" / "other").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert ids(tmp_path / "photos") == ["class__c", "other__c", "own"]


def test_hidden_files_and_folders_are_no_photos_unless_given_by_name(tmp_path):
    write_photo(tmp_path / "a.PNG")
    write_photo(tmp_path / ".trash" / "b.png")
    write_photo(tmp_path / ".x.png")
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7 Mac OS X")
    (tmp_path / "notes.txt").write_text("no photo")
    assert ids(tmp_path) == ["a"]
    assert ids(tmp_path / "*") == ["a"]
    assert ids(tmp_path / ".x.png") == [".x"]
    assert ids(tmp_path / "*.txt") == ["notes"], "who names a suffix means it"


def test_links_to_nothing_are_listed_and_pipes_are_not(tmp_path):
    write_photo(tmp_path / "a.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "elsewhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in photo_files(tmp_path)] == ["a.png", "gone.png"]


@pytest.mark.parametrize("name", ["285", "a b", "x__y", "写真", "a.b.c", "-dash", "it's", "🦊"])
def test_names_of_files_are_ids(tmp_path, name):
    write_photo(tmp_path / f"{name}.png")
    assert ids(tmp_path) == [name]
    wanted = int(name) if name.isdigit() else name
    source = FolderPhotos(path=str(tmp_path), size=(40, 48), ids=[wanted])
    assert [entry.id for entry in source.selected()] == [name]
