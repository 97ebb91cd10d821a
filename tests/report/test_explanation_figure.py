"""Figures are made of the store alone."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image
from planted import box_region, planted_sample

from fido.records import Explanation, Key, RegionEdit
from fido.report.explanation_figure import FigureObserver, draw_figures
from fido.runs.store import ResultsStore


@pytest.fixture
def store(tmp_path):
    store = ResultsStore(tmp_path)
    sample = planted_sample(image_id="a $1$ cup/<b>")
    edit = RegionEdit(sample.image, torch.zeros_like(sample.image), torch.eye(3, 2).flip(1))
    for target in (0, 1):
        explanation = Explanation(sample.id, target, box_region().float())
        row = {"id": sample.id, "status": "explained", "label": 1, "target": target, "seed": 0}
        store.save(dataclasses.replace(sample, target=target), explanation, row, edit)
    store.save_class_names(["dark $x_", "bright"])
    return store


def test_every_result_has_its_own_figure_with_the_photo_and_both_edits(store):
    paths = draw_figures(ResultsStore(store.folder))
    assert paths == [store.figure_path(key) for key in store]
    assert len(set(paths)) == 2
    pixels = np.asarray(Image.open(paths[0]).convert("RGB")).astype(int)
    assert pixels.shape[1] > 1000
    # The kept image is the photo, the removed one is black: both stand in the picture's upper part.
    assert (pixels == 0).all(2).mean() > 0.02
    assert (pixels == 230).all(2).mean() > 0.005


def test_results_without_edits_and_names_are_drawn_too(tmp_path):
    store = ResultsStore(tmp_path)
    row = {"id": "a", "status": "explained", "label": None, "target": 7, "seed": 0}
    store.save(planted_sample(image_id="a"), Explanation("a", 7, torch.rand(1, 40, 48)), row)
    (path,) = draw_figures(store)
    assert Image.open(path).size[0] > 1000


def test_an_observer_draws_what_an_interrupted_run_has_not(store):
    first, second = draw_figures(store)
    before = first.read_bytes()
    second.unlink()
    FigureObserver(store).begin(2, 0)
    assert second.is_file()
    assert first.read_bytes() == before
    first.unlink()
    draw_figures(store, [Key("a $1$ cup/<b>", 0)])
    assert first.read_bytes() == before
