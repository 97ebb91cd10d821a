"""A run of a network of one output: class folders, several targets a photo, what was cut."""

import csv
from pathlib import Path

from command_line import explain
from PIL import Image
from planted import write_photo


def test_labelled_folders_and_two_targets_a_photo(tmp_path):
    write_photo(tmp_path / "photos" / "Bright" / "a.png")
    write_photo(tmp_path / "photos" / "dark" / "b.png", box=None)
    Image.new("RGB", (96, 40)).save(tmp_path / "photos" / "dark" / "wide.png")
    settings = (
        "classifier.network._target_=planted_outputs.BoxLogit",
        "data=class_folders",
        "data.root=photos",
        "explainer.steps=2",
        "figures=false",
        "logger=none",
        "target=[label,second]",
        "hydra.run.dir=run",
    )
    done = explain(tmp_path, *settings)
    assert done.returncode == 0, done.stderr
    with Path(tmp_path, "run", "scores.csv").open(newline="", encoding="utf-8") as lines:
        rows = {(row["id"], row["target_name"]): row for row in csv.DictReader(lines)}
    assert set(rows) == {
        (photo, name)
        for photo in ("Bright__a", "dark__b", "dark__wide")
        for name in ("dark", "bright")
    }
    for (photo, name), row in rows.items():
        assert int(row["label"]) == photo.startswith("Bright")
        assert (float(row["p_original"]) > 0.9) == (name in photo.lower())
    assert "of a photo the classifier was shown 50% of the area" in done.stdout
    again = explain(tmp_path, *settings)
    assert again.stdout.count("3 images done, 0 to do") == 2, again.stdout


def test_a_run_that_its_first_photo_refuses_leaves_no_folder(tmp_path):
    write_photo(tmp_path / "photos" / "a.png")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    line = ["data=folder", "data.path=photos", "classifier.network._target_=planted_outputs"]
    line[-1] += ".BoxDetached"
    refused = explain(tmp_path, *line, "hydra.run.dir=runs/new")
    assert refused.returncode == 1
    assert "gradient: found none, expected one that reaches the pixels" in refused.stderr
    assert "wandb sync" not in refused.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "photos"]
    labels = explain(tmp_path, *line, "target=label", "hydra.run.dir=mine")
    assert labels.returncode == 1
    assert "none of the images has a label; use target=predicted" in labels.stderr
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]
