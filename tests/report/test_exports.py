"""Exports hold what the store holds, at both sizes, as other programs read them."""

import dataclasses
import json
import sys

import numpy as np
import pytest
import torch
import warm_process
from command_line import ROOT, environment, explain
from PIL import Image
from planted import box_region, planted_sample, write_photo

from fido.records import Explanation, PhotoRecord, RegionEdit
from fido.report.exports import Original, write_exports
from fido.report.rle import decode, encode, run_lengths
from fido.runs.store import ResultsStore

KINDS = ("map_png", "overlay", "mask", "npz", "coco")


def masks():
    rng = np.random.default_rng(0)
    yield "empty", np.zeros((5, 7), bool)
    yield "full", np.ones((5, 7), bool)
    yield "first", np.eye(6, 4, dtype=bool)
    yield "last", np.eye(6, 4, k=-2, dtype=bool)
    yield "noise", rng.random((31, 17)) > 0.5
    yield "blob", box_region()[0].numpy()
    yield "large", np.tile(rng.random((2, 700)) > 0.999, (500, 1))
    yield "one", np.ones((1, 1), bool)


@pytest.mark.parametrize(("name", "mask"), masks())
def test_run_lengths_are_those_of_coco_and_come_back(name, mask):
    counts = encode(mask)
    np.testing.assert_array_equal(decode(counts, *mask.shape), mask)
    assert sum(run_lengths(mask)) == mask.size
    coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools (extra `test`)")
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert counts == theirs["counts"].decode()
    again = coco.decode({"size": [*mask.shape], "counts": counts.encode()})
    np.testing.assert_array_equal(again.astype(bool), mask)


def test_wrong_run_lengths_are_refused():
    with pytest.raises(ValueError, match="run lengths for 35 pixels, expected 5 x 8"):
        decode(encode(np.ones((5, 7), bool)), 5, 8)


@pytest.fixture
def store(tmp_path):
    store = ResultsStore(tmp_path / "run")
    store.save_class_names(["dark", "bright"])
    ramp = torch.linspace(-2, 6, 48).expand(1, 40, 48).contiguous()
    for image_id, saliency, threshold in (
        ("a/b <c>", box_region().float(), 0.5),
        ("ramp", ramp, 2.0),
    ):
        sample = dataclasses.replace(planted_sample(image_id=image_id), target=1)
        edit = RegionEdit(sample.image, 0 * sample.image, torch.eye(3, 2))
        row = {"id": image_id, "status": "explained", "label": 1, "target": 1, "seed": 0}
        store.save(sample, Explanation(image_id, 1, saliency, threshold), row, edit)
    return store


def read(folder, kind, stem, suffix="png"):
    (path,) = (folder / kind).glob(f"*{stem}*.{suffix}")
    return np.load(path) if suffix == "npz" else Image.open(path)


def test_every_kind_holds_the_stored_result(store):
    folder = write_exports(store, KINDS)
    mask = np.asarray(read(folder, "mask", "ramp"))
    np.testing.assert_array_equal(mask == 255, store.load("ramp").region[0].numpy())
    picture = read(folder, "map_png", "ramp")
    low, high = (float(picture.text[name]) for name in ("low", "high"))
    values = low + np.asarray(picture, np.float64) / 65535 * (high - low)
    np.testing.assert_allclose(values, store.load("ramp").saliency[0].numpy(), atol=8 / 65535)
    arrays = read(folder, "npz", "ramp", "npz")
    np.testing.assert_array_equal(arrays["saliency"], store.load("ramp").saliency[0].numpy())
    assert arrays["photo"].shape == arrays["kept"].shape == (40, 48, 3)
    coco = json.loads((folder / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a/b <c>", "ramp"]
    assert coco["categories"] == [{"id": 1, "name": "bright"}]
    box, ramp = coco["annotations"]
    assert (box["bbox"], box["area"]) == ([8, 12, 12, 16], 12 * 16)
    region = decode(ramp["segmentation"]["counts"], *ramp["segmentation"]["size"])
    np.testing.assert_array_equal(region, mask == 255)
    assert len([*folder.rglob("*.png")]) == 6


def test_at_the_original_size_the_crop_is_where_it_was_taken(store):
    # Of a 200 x 100 photo the middle 120 x 100 were explained as 48 x 40.
    photo = Image.new("RGB", (200, 100), "white")
    originals = {
        "a/b <c>": Original(photo, (40, 0, 160, 100)),
        "ramp": Original(photo, (0, 0, 200, 100)),
    }
    folder = write_exports(store, (*KINDS, "original_size"), None, originals.__getitem__)
    mask = np.asarray(read(folder, "mask", "%3Cc%3E")) == 255
    assert mask.shape == (100, 200)
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    # The box 8..20 x 12..28 at 2.5 times the size, 40 to the right.
    assert [columns[0], columns[-1] + 1, rows[0], rows[-1] + 1] == [60, 90, 30, 70]
    assert mask[30:70, 60:90].mean() > 0.99
    arrays = read(folder, "npz", "%3Cc%3E", "npz")
    assert np.isnan(arrays["saliency"][:, :40]).all()
    assert np.isfinite(arrays["saliency"][:, 40:160]).all()
    values = read(folder, "npz", "ramp", "npz")["saliency"][50]
    # Linear between the centres of the first and the last column.
    expected = np.interp(
        (np.arange(200) + 0.5) * 48 / 200 - 0.5, np.arange(48), np.linspace(-2, 6, 48)
    )
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert read(folder, "overlay", "ramp").size == (200, 100)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/p/a b.JPG"], ["a b.JPG"]),
        (["/p/cat/a.png", "/p/dog/a.png"], ["cat/a.png", "dog/a.png"]),
        (["/p/x.jpeg", "0"], ["x.jpeg", "i1"]),  # a photo of no file keeps its id
    ],
)
def test_coco_calls_photos_as_their_files_are_called(tmp_path, paths, names):
    store = ResultsStore(tmp_path)
    for i, path in enumerate(paths):
        record = PhotoRecord(path, "", 96, 40, (24.0, 0.0, 72.0, 40.0))
        sample = dataclasses.replace(planted_sample(image_id=f"i{i}"), photo=record)
        row = {"id": sample.id, "status": "explained", "label": 1, "target": 1, "seed": 0}
        store.save(sample, Explanation(sample.id, 1, box_region().float()), row)
    images = json.loads((write_exports(store, ["coco"]) / "coco.json").read_text())["images"]
    assert [image["file_name"] for image in images] == names
    assert all(image["crop"] == [24, 0, 72, 40] and image["width"] == 48 for image in images)


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["maskk"], "there is no such export"),
        (["original_size"], "says a size only"),
        (["mask", "original_size"], "not known where the photos"),
    ],
)
def test_what_cannot_be_exported_is_refused(store, kinds, words):
    with pytest.raises(ValueError, match=words):
        write_exports(store, kinds)
    assert not (store.folder / "exports").exists()


def test_a_run_and_a_run_of_the_past_export_the_same(tmp_path):
    write_photo(tmp_path / "photos" / "one" / "a.png")
    wide = Image.new("RGB", (150, 40), (50, 50, 50))
    wide.paste((230, 230, 230), (59, 12, 71, 28))
    wide.save(tmp_path / "photos" / "wide.png")
    given = "export=[mask,overlay,coco,original_size]"
    line = ["data=folder", "data.path=photos", "logger=none", "figures=false", "explainer.steps=60"]
    run = explain(tmp_path, *line, given, "hydra.run.dir=run")
    assert run.returncode == 0, run.stderr
    assert "exports: " in run.stdout
    exports = tmp_path / "run" / "exports"
    before = {p.name: p.read_bytes() for p in exports.rglob("*") if p.is_file()}
    mask = np.asarray(Image.open(next((exports / "mask").glob("wide*"))))
    assert mask.shape == (40, 150)
    assert mask[14:26, 61:69].mean() > 200
    assert mask[:, :51].max() == mask[:, 99:].max() == 0
    coco = json.loads((exports / "coco.json").read_text())
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in coco["images"]}
    assert sizes == {"one/a.png": (48, 40), "wide.png": (150, 40)}
    assert all((tmp_path / "photos" / name).is_file() for name in sizes)
    for file in [p for p in exports.rglob("*") if p.is_file()]:
        file.unlink()
    (tmp_path / "elsewhere").mkdir()
    line = [sys.executable, ROOT / "report.py"]
    line += ["store=../run", "figures=false", "html=false", given]
    made = warm_process.run(line, tmp_path / "elsewhere", environment(), anew=True)
    assert made.returncode == 0, made.stderr
    assert {p.name: p.read_bytes() for p in exports.rglob("*") if p.is_file()} == before
