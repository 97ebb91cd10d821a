"""Results belong to photos, not to what photos are called."""

import os
import shutil
from dataclasses import replace

import pytest
import torch
from planted import planted_classifier, planted_sample, write_photo

from fido.data.digits import Digits
from fido.data.folder import FolderPhotos
from fido.explainers.baselines import Center
from fido.infillers.mean import MeanInfiller
from fido.records import Explanation, PhotoRecord
from fido.runs import photos
from fido.runs.photos import PhotoMismatchError
from fido.runs.runner import Runner
from fido.runs.store import ResultsStore
from fido.runtime.digests import file_digest


def run(folder, path, store=None):
    classifier = planted_classifier()
    store = store or ResultsStore(folder)
    source = FolderPhotos(path=str(path), size=(40, 48), crop_fraction=1.0)
    return Runner(classifier, MeanInfiller(), Center(), store).run(source)


def content(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_result_says_which_photo_it_is_of(tmp_path):
    write_photo(tmp_path / "p.png")
    run(tmp_path / "run", tmp_path / "p.png")
    photo = ResultsStore(tmp_path / "run").photo("p")
    assert photo.path == str(tmp_path / "p.png")
    assert photo.sha256 == file_digest(tmp_path / "p.png")
    assert (photo.width, photo.height, photo.crop) == (48, 40, (0, 0, 48, 40))
    assert ResultsStore(tmp_path / "run").sample("p").photo == photo


@pytest.mark.parametrize(
    "how", ["replaced", "from another folder", "of the same size and time", "in its place"]
)
def test_another_photo_of_the_same_name_is_refused_and_changes_nothing(tmp_path, how):
    photo = tmp_path / "1" / "p.png"
    write_photo(photo)
    run(tmp_path / "run", photo)
    before, time = content(tmp_path / "run"), photo.stat().st_mtime_ns
    if how == "from another folder":
        photo = tmp_path / "2" / "p.png"
    size = photo.stat().st_size if photo.is_file() else 0
    write_photo(photo, (0, 0, 30, 20))
    if how in ("of the same size and time", "in its place"):
        # Such a file is only told apart by its content.
        photo.write_bytes(photo.read_bytes().ljust(size, b"\0"))
        if how != "in its place":
            photo = photo.rename(tmp_path / "1" / "other.png").rename(tmp_path / "p.png")
        os.utime(photo, ns=(time, time))
    with pytest.raises(PhotoMismatchError, match=r"another photo under the id 'p': .*1/p\.png"):
        run(tmp_path / "run", photo)
    assert content(tmp_path / "run") == before


def test_the_same_photo_may_move_and_be_touched(tmp_path):
    write_photo(tmp_path / "1" / "p.png")
    run(tmp_path / "run", tmp_path / "1" / "p.png")
    shutil.move(tmp_path / "1", tmp_path / "2")
    os.utime(tmp_path / "2" / "p.png")
    assert run(tmp_path / "run", tmp_path / "2")["this_run"]["images"] == 0


def test_a_photo_whose_file_is_gone_stays_explained(tmp_path):
    for name in "ab":
        write_photo(tmp_path / "photos" / f"{name}.png")
    run(tmp_path / "run", tmp_path / "photos")
    (tmp_path / "photos" / "a.png").unlink()
    assert run(tmp_path / "run", tmp_path / "photos")["images"] == {"explained": 2}


def test_made_images_have_a_record_without_a_file():
    source = Digits(crop_fraction=1.0)
    photo = source.load(source.entries()[0]).photo
    assert (photo.path, photo.width) == (source.entries()[0].id, 8)
    assert len(photo.sha256) == 64


def record(digest):
    return PhotoRecord(f"/{digest}/p.png", digest, 48, 40, (0, 0, 48, 40))


def save(store, digest, target):
    sample = replace(planted_sample(image_id="p"), photo=record(digest), target=target)
    row = {"id": "p", "status": "explained", "target": target, "seed": 0}
    store.save(sample, Explanation("p", target, torch.rand(1, 40, 48)), row)


def test_of_two_processes_at_once_the_first_photo_of_a_name_stays(tmp_path):
    one, other = ResultsStore(tmp_path), ResultsStore(tmp_path)
    save(one, "first", 0)
    with pytest.raises(PhotoMismatchError, match=r"first/p\.png"):
        save(other, "second", 1)  # another class, so another file
    assert [key.target for key in one] == [0]
    save(other, "first", 1)
    assert len(one) == 2


def test_claims_of_those_who_died_and_half_lines_hold_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(photos, "PATIENCE", 0.2)
    foreign = b'\n[["p"], "x", null, null]\n{"a": 1, "b": 2, "c": 3, "d": 4}\n' + b"[" * 99_999
    claims = b'\n["p", "dead", null, null]\n' + foreign + b'\n\xff\n["q", "cu'
    (tmp_path / ".photos").write_bytes(claims)
    store = ResultsStore(tmp_path)
    save(store, "mine", 0)
    save(ResultsStore(tmp_path), "mine", 1)
    with pytest.raises(PhotoMismatchError):
        save(ResultsStore(tmp_path), "dead", 2)


@pytest.mark.parametrize("when", ["before the first look", "while it works"])
def test_what_another_process_saves_of_another_photo_is_not_taken_for_done(tmp_path, when):
    """Both have found the folder empty; the other one is first."""
    for folder, box in (("mine", (0, 0, 30, 20)), ("others", (8, 12, 20, 28))):
        write_photo(tmp_path / folder / "p.png", box)
    source = FolderPhotos(path=str(tmp_path / "mine"), size=(40, 48), crop_fraction=1.0)
    entries, store = source.selected(), ResultsStore(tmp_path / "run")
    store.check_photos((entry.id, entry.path) for entry in entries)
    explainer = Center()
    if when == "before the first look":
        run(tmp_path / "run", tmp_path / "others")
    else:
        load = source.load

        def late(entry):
            run(tmp_path / "run", tmp_path / "others")
            return load(entry)

        source.load = late
    runner = Runner(planted_classifier(), MeanInfiller(), explainer, store, target=1)
    with pytest.raises(PhotoMismatchError, match=r"another photo under the id 'p'.*others"):
        runner.run(source, entries)
