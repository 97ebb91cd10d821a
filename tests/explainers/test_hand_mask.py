"""A mask drawn by hand: alone, and together with the regions of a run."""

import csv
import sys

import numpy as np
import pytest
import torch
import warm_process
from command_line import ROOT, environment
from configurations import explain_config
from PIL import Image
from planted import BOX, PLANTED, box_region, planted_classifier, planted_sample, write_photo

from fido.app.instantiate import build
from fido.explainers.hand_mask import HandMask
from fido.infillers.mean import MeanInfiller
from fido.records import Explanation
from fido.runs.store import ResultsStore

HEAD = (8, 12, 20, 18)  # the upper part of the planted box


def draw(path, box, size=(40, 48)):
    pixels = np.zeros((*size, 3), np.uint8)
    left, top, right, bottom = box
    pixels[top:bottom, left:right] = 255
    Image.fromarray(pixels).save(path)
    return str(path)


def region(path, **options):
    (explanation,) = HandMask(planted_classifier(), str(path), **options).explain(
        [planted_sample()]
    )
    assert explanation.failure is None
    return explanation.region


def test_the_white_pixels_are_the_region(tmp_path):
    file = draw(tmp_path / "mask.png", BOX)
    assert torch.equal(region(file), box_region())
    draw(tmp_path / "planted.png", HEAD)  # a folder holds one for each image
    assert torch.equal(region(tmp_path), box_region(box=HEAD))


def test_a_mask_of_the_photo_is_cut_as_the_photo(tmp_path):
    # A photo of 80 x 160, of which a network of 40 x 48 sees columns 32 to 128, halved.
    file = draw(tmp_path / "mask.png", (48, 24, 72, 56), (80, 160))
    classifier = planted_classifier()
    classifier.crop_fraction = 1.0
    (explanation,) = HandMask(classifier, file).explain([planted_sample()])
    assert torch.equal(explanation.region, box_region(box=BOX))
    (squashed,) = HandMask(classifier, file, resize="squash").explain([planted_sample()])
    assert not torch.equal(squashed.region, explanation.region)


@pytest.mark.parametrize(
    ("combine", "rest"), [("minus", (8, 18, 20, 28)), ("and", HEAD), ("or", BOX)]
)
def test_it_is_combined_with_the_region_of_a_run(tmp_path, combine, rest):
    sample = planted_sample()
    earlier = Explanation(sample.id, 1, box_region().float())
    ResultsStore(tmp_path / "run").save(
        sample, earlier, {"id": sample.id, "label": 1}, None, [1, 0]
    )
    file = draw(tmp_path / "head.png", HEAD)
    options = {"folder": str(tmp_path / "run"), "store": ResultsStore, "combine": combine}
    assert torch.equal(region(file, **options), box_region(box=rest))


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mask\.file=FILE"):
        HandMask(planted_classifier(), None)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png"):
        HandMask(planted_classifier(), str(tmp_path / "nowhere.png"))
    file = draw(tmp_path / "mask.png", BOX)
    with pytest.raises(FileNotFoundError, match=r"mask\.folder: \S+ holds no explanations"):
        HandMask(planted_classifier(), file, str(tmp_path), store=ResultsStore)
    with pytest.raises(ValueError, match="combine"):
        HandMask(planted_classifier(), file, combine="xor")
    (tmp_path / "planted.png").write_bytes(b"no picture")
    for folder, words in ((tmp_path, "cannot read"), (tmp_path / "empty", "no image file")):
        folder.mkdir(exist_ok=True)
        (failed,) = HandMask(planted_classifier(), str(folder)).explain([planted_sample()])
        assert words in failed.failure


def test_the_leaf_takes_the_mask_of_the_run(tmp_path):
    file = draw(tmp_path / "mask.png", BOX)
    config = explain_config("explainer=hand_mask", f"mask.file={file}", "data.resize=squash")
    built = build(config.explainer, classifier=planted_classifier())
    assert built.geometry.resize == "squash"
    assert torch.equal(built.drawn(planted_sample()), box_region())


def test_a_method_that_learns_a_mask_is_told_which_one_it_takes():
    config = explain_config("mask=file", "explainer=fido", "explainer.steps=1")
    shared = {"classifier": planted_classifier(), "infiller": MeanInfiller(), "progress": None}
    with pytest.raises(ValueError, match="mask=concrete"):
        build(config.explainer, **shared).explain([planted_sample()])


def test_a_run_says_what_the_class_is_worth_under_it(tmp_path):
    """The class of the planted photo is its box: without the upper part little is left of it."""
    write_photo(tmp_path / "photo.png")
    for name, box in (("all", BOX), ("head", HEAD), ("elsewhere", (30, 4, 40, 10))):
        draw(tmp_path / f"{name}.png", box)
    line = [sys.executable, str(ROOT / "explain.py"), "-m", *PLANTED, "infiller=mean"]
    line += ["infiller.colour=[0.2,0.2,0.2]", "region.infiller=${infiller}", "logger=none"]
    line += ["figures=false", "callbacks=[]", "data=folder", "data.path=photo.png"]
    line += ["explainer=hand_mask", "mask.file=all.png,head.png,elsewhere.png", "target=bright"]
    run = warm_process.run([*line, "hydra.sweep.dir=out"], tmp_path, environment())
    assert run.returncode == 0, run.stderr
    rows = {}
    for scores in (tmp_path / "out").glob("*/scores.csv"):
        with scores.open(newline="") as lines:
            (row,) = csv.DictReader(lines)
        rows[float(row["area"])] = float(row["p_kept"]), float(row["p_removed"])
    kept = dict(
        zip(("elsewhere", "head", "all"), (rows[area] for area in sorted(rows)), strict=True)
    )
    assert kept["all"][0] > 0.99 > kept["head"][0] > kept["elsewhere"][0]
    assert kept["all"][1] < 0.01 < kept["head"][1] < kept["elsewhere"][1]
