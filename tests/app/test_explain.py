"""The real command in a temporary folder, with a classifier whose evidence is known."""

import csv
import json
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import warm_process
from command_line import command, environment, explain
from planted import box_region, iou, write_photo
from wandb_offline import read_run

from fido.records import Key
from fido.runs.store import ResultsStore


@pytest.fixture
def photos(tmp_path):
    for name in "abcdef":
        write_photo(tmp_path / "photos" / f"{name}.png")
    return f"data.path={tmp_path / 'photos'}"


def test_one_run_leaves_everything_and_runs_only_once(tmp_path, photos):
    line = ["data=folder", photos, "data.limit=2", "explainer.steps=80", "hydra.run.dir=run"]
    first = explain(tmp_path, *line)
    assert first.returncode == 0, first.stderr
    assert "0 images done, 2 to do" in first.stdout
    assert "run/figures/a.class1.seed0.png" in first.stdout
    assert not re.search(r"\x1b|\r", first.stdout + first.stderr), "control characters in a log"
    run = tmp_path / "run"
    for file in ("scores.csv", "summary.json", "env.json", "settings.json", ".hydra/config.yaml"):
        assert (run / file).is_file(), file
    store = ResultsStore(run)
    assert list(store) == [Key("a", 1), Key("b", 1)]
    assert iou(store.load("a").region, box_region()) > 0.8
    with (run / "scores.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [row["target_name"] for row in rows] == ["bright", "bright"]
    assert json.loads((run / "env.json").read_text())["packages"]["torch"]

    logged = read_run(run)
    assert logged["exit_code"] == 0
    assert logged["config"]["objective"]["sparsity"] == 0.02
    curve = [row["score/a"] for row in logged["history"] if "score/a" in row]
    torch.testing.assert_close(torch.tensor(curve), store.load("a").history["score"])
    (picture, _) = [row["explanation"] for row in logged["history"] if "explanation" in row]
    assert (logged["folder"] / "files" / picture["path"]).stat().st_size > 10_000
    assert logged["summary"]["images"] == {"explained": 2}

    before = {path: path.stat().st_mtime_ns for path in run.glob("explanations/*")}
    again = explain(tmp_path, *line, "logger=none")
    assert again.returncode == 0
    assert "2 images done, 0 to do" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in run.glob("explanations/*")} == before

    other = explain(tmp_path, *line, "logger=none", "objective.sparsity=0.5")
    assert other.returncode == 1
    assert "objective.sparsity: 0.02 there, 0.5 now" in other.stderr
    assert "Traceback" not in other.stderr


def test_a_failing_job_does_not_lose_the_others_and_only_it_runs_again(tmp_path, photos):
    line = [
        "objective=ssr,sdr",
        "target=bright,1,nothing",
        "data=folder",
        photos,
        "data.limit=1",
        "explainer.steps=3",
        "logger=csv",
    ]
    first = explain(tmp_path, *line)
    assert first.returncode != 0
    assert "nothing" in first.stderr
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    jobs = {path.parent.parent for path in sweep.rglob("explanations/a.class1.seed0.safetensors")}
    assert len(jobs) == 4
    assert {job.name for job in jobs} == {
        f"objective={objective},target={target}"
        for objective in ("ssr", "sdr")
        for target in ("bright", "1")
    }
    assert (sweep / "contact_sheet.png").stat().st_size > 10_000
    assert all((job / "curves" / "a.class1.seed0.csv").is_file() for job in jobs)
    again = explain(tmp_path, *line)
    assert again.stdout.count("1 images done, 0 to do") == 4
    assert list((tmp_path / "outputs" / "sweeps").iterdir()) == [sweep]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["target=brigth"], "nearest names: bright"),
        (["objective.sparsity=-1"], "sparsity must be 0 or more, got -1"),
        (["explainer.steps=0"], "steps must be 1 or more, got 0"),
        (["mask.grid=300"], "40 x 48 pixels, got 300 x 300"),
        (["infiller=bluur"], "blur"),
        (["data.path=missing.jpg"], "missing.jpg"),
        (["data.path=broken.png"], "broken.png"),
    ],
)
def test_wrong_input_gets_one_clear_line(tmp_path, photos, overrides, words):
    (tmp_path / "broken.png").write_bytes(b"no image")
    run = explain(tmp_path, "data=folder", photos, "data.limit=1", "logger=none", *overrides)
    assert run.returncode == 1
    assert words in run.stderr
    assert "Traceback" not in run.stderr
    assert "HYDRA_FULL_ERROR" not in run.stderr or "infiller" in words + overrides[0]


def wait_for(path: Path, count: int, process: warm_process.Process) -> None:
    until = time.monotonic() + 120
    while len(list(path.glob("[!.]*.safetensors"))) < count:
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGINT]
)
def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, photos, how):
    line = ["data=folder", photos, "explainer.steps=100", "logger=none"]
    process = warm_process.start(command(*line, "hydra.run.dir=run"), tmp_path, environment())
    wait_for(tmp_path / "run" / "explanations", 2, process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    done = list(ResultsStore(tmp_path / "run"))
    if how == signal.SIGINT:
        assert f"interrupted; {len(done)} finished images are kept in " in errors
        assert errors.rstrip().endswith("hydra.run.dir=run")
    assert 2 <= len(done) < 6
    for key in done:
        assert ResultsStore(tmp_path / "run").load(key).saliency.isfinite().all()
    if how == signal.SIGINT:
        assert (tmp_path / "run" / "scores.csv").read_text().count("explained") == len(done)

    assert explain(tmp_path, *line, "hydra.run.dir=run").returncode == 0
    # Started anew, with another seed of hashes.
    assert explain(tmp_path, *line, "hydra.run.dir=whole", anew=True).returncode == 0
    for pattern in ("explanations/*", "figures/*", "scores.csv"):
        ours = {p.name: p.read_bytes() for p in (tmp_path / "run").glob(pattern)}
        theirs = {p.name: p.read_bytes() for p in (tmp_path / "whole").glob(pattern)}
        assert ours == theirs
        assert ours


def test_an_error_marks_the_wandb_run_as_failed(tmp_path, photos):
    (tmp_path / "photos" / "b.png").write_bytes(b"no image")
    run = explain(tmp_path, "data=folder", photos, "explainer.steps=2", "hydra.run.dir=run")
    assert run.returncode == 1
    assert "b.png" in run.stderr
    assert read_run(tmp_path / "run")["exit_code"] == 1
    assert list(ResultsStore(tmp_path / "run")) == [Key("a", 1)]
