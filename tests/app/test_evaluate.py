"""The real command on stores with a classifier whose evidence is known."""

import csv
import json
import os
import sys
from pathlib import Path

import pytest
import torch
import warm_process
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from planted import BOX, PLANTED, box_region, planted_sample, write_photo

from fido.records import Explanation
from fido.runs.store import ResultsStore
from fido.runs.sweep import groups_of, named_stores, run_name, sweep_stores

ROOT = Path(__file__).resolve().parents[2]
METRICS = "metrics=[localization,outside_box,saliency_metric,deletion]"


def run(script, folder, *overrides, anew=False):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "FIDO", "HYDRA"))}
    return warm_process.run(
        [sys.executable, ROOT / script, *overrides[:1], *PLANTED, *overrides[1:]],
        folder,
        {**clean, "PYTHONPATH": str(ROOT / "tests" / "helpers"), "HOME": "/nonexistent"},
        anew=anew,
    )


def make_store(folder, saliency, ids=("a", "b", "c")):
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("explain", ["output_dir=x", *PLANTED])
    settings = {"classifier": OmegaConf.to_container(cfg.classifier, resolve=True)}
    store = ResultsStore(folder, settings)
    for image_id in ids:
        row = {"id": image_id, "status": "explained", "label": 1, "target": 1, "predicted": 1}
        store.save(planted_sample(image_id=image_id), Explanation(image_id, 1, saliency), row)
    return store


def test_stores_become_tables_and_are_scored_once(tmp_path):
    make_store(tmp_path / "runs,old" / "good", box_region().float())
    bad = make_store(tmp_path / "bad", torch.rand(1, 40, 48), ids=("a", "b"))
    bad.save_not_explained({"id": "c", "status": "failed", "reason": "loss"})
    line = ["store=runs,old/good,bad", METRICS, "metrics.deletion.pixels_per_step=64"]
    first = run("evaluate.py", tmp_path, *line, "logger=none", "hydra.run.dir=out", anew=True)
    assert first.returncode == 0, first.stderr
    assert "3/3 images scored" in first.stdout
    assert "bad: 2 explained, 1 failed" in first.stdout
    with (tmp_path / "out" / "scores.csv").open(newline="") as lines:
        rows = {(row["row"], row["id"]): row for row in csv.DictReader(lines)}
    assert float(rows["good", "a"]["localization.wsl_error"]) == 0
    assert float(rows["good", "a"]["outside_box.outside"]) == 0
    assert float(rows["Full", "c"]["localization.wsl_error"]) == 1
    assert ("bad", "c") not in rows
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["deletion"]["baseline"] == "good"
    assert summary["metrics"]["deletion"]["rows"]["bad"]["minus_baseline"]["auc"]["n"] == 2
    page = tmp_path / "bad" / "scored" / "a.class1.seed0.json"
    content = json.loads(page.read_text())
    content["deletion"]["explanation"]["values"]["auc"] = 9.0
    page.write_text(json.dumps(content))
    again = run("evaluate.py", tmp_path, *line, "logger=wandb", "hydra.run.dir=out")
    assert again.returncode == 0, again.stderr
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["metrics"]["deletion"]["rows"]["bad"]["mean"]["auc"]["mean"] > 4
    assert list((tmp_path / "out" / "wandb").glob("offline-run-*"))


def test_wrong_command_lines_end_with_one_line(tmp_path):
    none = run("evaluate.py", tmp_path, "store=nowhere", "logger=none")
    assert none.returncode == 1
    assert none.stderr.strip() == "error: store=nowhere: no explanations in this folder"
    assert not (tmp_path / "nowhere").exists()
    make_store(tmp_path / "good", box_region().float())
    unknown = run(
        "evaluate.py",
        tmp_path,
        "store=good",
        METRICS,
        "logger=none",
        "evaluation.compare_to=better",
    )
    assert unknown.returncode == 1
    assert "evaluation.compare_to=better is no row; there are Full, Center" in unknown.stderr


def test_a_sweep_with_metrics_leaves_its_table(tmp_path):
    data = tmp_path / "data"
    left, top, right, bottom = BOX
    lines = ["file,class_index,xmin,ymin,xmax,ymax"]
    for name in "ab":
        write_photo(data / "images" / f"{name}.png")
        lines.append(f"{name}.png,1,{left / 48},{top / 40},{right / 48},{bottom / 40}")
    (data / "boxes.csv").write_text("\n".join(lines) + "\n")
    done = run(
        "explain.py",
        tmp_path,
        "-m",
        "explainer=full,ground_truth_box",
        "data=boxes",
        f"data.root={data}",
        "data.resize=squash",
        "infiller=mean",
        "metrics=[localization,outside_box]",
        "evaluation.name=table",
        "logger=none",
        "hydra.sweep.dir=sweep",
    )
    assert done.returncode == 0, done.stderr
    assert "scores of the sweep" in done.stdout
    assert (tmp_path / "sweep" / "table" / "figures" / "settings_and_scores.png").is_file()
    summary = json.loads((tmp_path / "sweep" / "table" / "summary.json").read_text())
    errors = {
        name: row["mean"]["wsl_error"]["mean"]
        for name, row in summary["metrics"]["localization"]["rows"].items()
    }
    assert errors["Full"] == errors["full"] == 1
    assert errors["Ground-truth box"] == errors["ground_truth_box"] == 0


def test_a_sweep_whose_scores_fail_says_so_and_ends_with_an_error(tmp_path):
    write_photo(tmp_path / "a.png")
    done = run(
        "explain.py",
        tmp_path,
        "-m",
        "explainer=full",
        "classifier.crop_fraction=0.8",
        "data.resize=squash,squash_crop",  # different pixels of one image cannot be compared
        "data=folder",
        "data.path=a.png",
        "infiller=mean",
        "metrics=[deletion]",
        "logger=none",
        "hydra.sweep.dir=sweep",
    )
    assert done.returncode == 1
    assert "explain different pixels, so their scores cannot be compared" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "sweep" / "contact_sheet.png").is_file()


def hydra_run(folder, saliency=None, settings=None, overrides=(), **choices):
    made_by = {"choices": choices, "overrides": list(overrides)}
    store = ResultsStore(folder, settings or {"explainer": {"infiller": "???"}}, made_by)
    if saliency is not None:
        row = {"id": "a", "status": "explained", "label": 1, "target": 1}
        store.save(planted_sample(image_id="a"), Explanation("a", 1, saliency), row)


def test_runs_are_named_by_what_they_did(tmp_path):
    chosen = {"explainer": "lime", "objective": "ssr", "infiller": "ca"}
    hydra_run(tmp_path / "one", **chosen)
    assert run_name(tmp_path / "one") == "lime ca"
    hydra_run(tmp_path / "two", settings={"explainer": {"objective": {}, "infiller": 1}}, **chosen)
    assert run_name(tmp_path / "two") == "lime ssr ca"
    (tmp_path / "plain" / "explanations").mkdir(parents=True)
    assert run_name(tmp_path / "plain") == "plain"
    hydra_run(tmp_path / "three", **chosen)
    both, _ = named_stores([str(tmp_path / "one"), str(tmp_path / "three")])
    assert list(both) == ["lime ca (one)", "lime ca (three)"]
    mine, _ = named_stores({"A": str(tmp_path / "one"), "B": str(tmp_path / "three")})
    assert list(mine) == ["A", "B"]
    with pytest.raises(ValueError, match="two stores have the name"):
        named_stores([str(tmp_path / "one"), str(tmp_path / "one")])


def test_sweeps_are_groups_named_by_what_differs(tmp_path):
    for method in ("sp", "sp_g"):
        for patch in (5, 17):
            hydra_run(
                tmp_path / "sweep" / f"{method}-{patch}",
                box_region().float(),
                overrides=[f"preset={method}", f"explainer.patch={patch}", "data=boxes"],
            )
    stores, sweeps = named_stores([str(tmp_path / "sweep")])
    assert set(stores) == {
        "sp explainer.patch=5",
        "sp explainer.patch=17",
        "sp_g explainer.patch=5",
        "sp_g explainer.patch=17",
    }
    assert groups_of(stores, sweeps) == {"sweep": list(stores)}
    across = groups_of(stores, sweeps, "explainer.patch")
    assert {name: len(runs) for name, runs in across.items()} == {"sp": 2, "sp_g": 2}
    assert groups_of({"a": 1, "b": 2}, {}) == {"all": ["a", "b"]}


def test_the_columns_of_a_sweep_stand_in_the_order_of_their_numbers(tmp_path):
    for setting, values in {
        "sparsity": ["0.002", "2e-05", "0.0005"],
        "grid": ["112", "14"],
    }.items():
        for value in values:
            line = f"{setting}={value}"
            hydra_run(tmp_path / setting / line, box_region().float(), overrides=[line])
    assert list(sweep_stores(tmp_path / "sparsity")) == [
        "sparsity=2e-05",
        "sparsity=0.0005",
        "sparsity=0.002",
    ]
    assert list(sweep_stores(tmp_path / "grid")) == ["grid=14", "grid=112"]
