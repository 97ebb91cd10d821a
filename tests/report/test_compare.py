"""The photos on which two runs differ most are those that were planted."""

import dataclasses
import json
import sys

import pytest
import torch
import warm_process
from command_line import ROOT, environment
from PIL import Image
from planted import box_region, planted_sample

from fido.records import Explanation, Key, RegionEdit
from fido.report.compare import differences
from fido.runs.store import ResultsStore


def run_of(folder, kept, seed=0, removed=0.1):
    """A run with a photo for each id, whose class has the probability `kept`."""
    store = ResultsStore(folder)
    store.save_class_names(["dark", "bright"])
    for image_id, p in kept.items():
        sample = dataclasses.replace(planted_sample(image_id=image_id), target=1)
        probabilities = torch.tensor([[0.1, 0.9], [1 - p, p], [1 - removed, removed]])
        edit = RegionEdit(sample.image, sample.image, probabilities)
        row = {"id": image_id, "status": "explained", "label": 1, "target": 1, "seed": seed}
        store.save(sample, Explanation(image_id, 1, box_region().float(), seed=seed), row, edit)
    return store


def test_the_order_is_that_of_the_lead_over_common_photos(tmp_path):
    a = run_of(tmp_path / "a", {"x": 0.9, "y": 0.2, "z": 0.5, "only_a": 1.0})
    b = run_of(tmp_path / "b", {"x": 0.3, "y": 0.8, "z": 0.5, "only_b": 0.0}, seed=4)
    found = differences(a, b)
    assert [(d.first, d.second.seed) for d in found] == [
        (Key("x", 1), 4),
        (Key("z", 1), 4),
        (Key("y", 1), 4),
    ]
    assert [d.lead for d in found] == pytest.approx([0.6, 0.0, -0.6])
    with pytest.raises(ValueError, match="no photo in common"):
        differences(a, run_of(tmp_path / "c", {"elsewhere": 0.5}))


def test_scores_of_the_table_come_before_the_run_s_own_infiller(tmp_path):
    a, b = run_of(tmp_path / "a", {"x": 0.9}), run_of(tmp_path / "b", {"x": 0.3})
    a.write_scores([{**a.row("x"), "p_kept": 0.25, "p_removed": 0.5}])
    (found,) = differences(a, b)
    assert found.scores == pytest.approx((-0.25, 0.2))


def fido(folder, *words):
    program = "import sys; from fido.app.command_line import main; sys.argv[0] = 'fido'; main()"
    line = [sys.executable, "-c", program, *words]
    return warm_process.run(line, folder, {**environment(), "PYTHONPATH": str(ROOT)})


def test_the_command_draws_both_directions_and_says_what_it_needs(tmp_path):
    run_of(tmp_path / "a, first", {"x": 0.9, "y": 0.2})
    run_of(tmp_path / "explainer=b", {"x": 0.3, "y": 0.8})  # as the jobs of a sweep are called
    made = fido(tmp_path, "compare", "a, first", "explainer=b", "dpi=50", "folder=out")
    assert made.returncode == 0, made.stderr
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == ["1_a_first_better.png", "2_explainer_b_better.png"]
    assert all(Image.open(file).size[1] > 100 for file in files)
    said = made.stdout.splitlines()
    assert said[0].startswith("2 results of the same photo and class; score: p(class) with only")
    assert said[1:3] == ["a, first is ahead on 1", "explainer=b is ahead on 1"]
    assert said[3] == "picture: out/1_a_first_better.png"
    alone = fido(tmp_path, "compare", "explainer=b")
    assert alone.returncode == 1
    assert "two runs are compared, got 1 (explainer=b): fido compare A B" in alone.stderr
    assert "Traceback" not in alone.stderr
    assert json.loads((tmp_path / "explainer=b" / "class_names.json").read_text())
