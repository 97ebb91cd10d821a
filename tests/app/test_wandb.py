"""W&B gets what it is asked to get, and never ends a run of ours."""

import json

import pytest
from command_line import environment, explain
from planted import write_photo
from wandb_offline import read_run, records

from fido.loggers.wandb import WandbRunLogger, close, wandb_mode

KEY = "0123456789" * 4


def runs(folder):
    return sorted(path.name for path in folder.glob("wandb/offline-run-*"))


@pytest.mark.parametrize(
    ("mode", "variable", "expected"),
    [
        ("auto", None, "offline"),
        ("auto", "", "offline"),
        ("auto", "online", "online"),
        ("auto", "dryrun", "offline"),
        ("auto", "run", "online"),
        ("auto", "shared", "shared"),
        ("offline", "online", "offline"),
        ("disabled", None, "disabled"),
        ("online", "disabled", "online"),
    ],
)
def test_nothing_is_sent_that_nobody_asked_to_send(monkeypatch, mode, variable, expected):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert wandb_mode(mode) == expected


def test_a_mode_that_there_is_not_is_refused(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ValueError, match=r"auto, online, offline, shared, disabled; got 'ofline'"):
        WandbRunLogger("anywhere", {})


def test_a_run_with_nothing_to_do_makes_no_wandb_run_unless_it_has_new_scores(tmp_path):
    table = tmp_path / "scores.csv"
    table.write_text("id,score\na,1\n")
    for scored in (False, True, True):
        with WandbRunLogger(str(tmp_path), {"explainer": {}}, mode="offline") as logger:
            logger.begin(2, 0)
            logger.summary({"images": {"explained": 2}})
            logger.measures({"mean/area": 0.25})
            if scored:
                logger.scores(table, {})
        assert len(runs(tmp_path)) == scored


def test_a_server_that_does_not_answer_ends_no_run_and_photos_stay_here(tmp_path, monkeypatch):
    """One run: online to nowhere, without pictures, its curves on the way, then once more."""
    monkeypatch.setattr("command_line.environment", lambda: ONLINE)
    write_photo(tmp_path / "photos" / "a.png")
    line = ["data=folder", "data.path=photos", "explainer.steps=15", "hydra.run.dir=run"]
    line += ["logger.images=false", "logger.timeout=2"]
    first = explain(tmp_path, *line)
    assert first.returncode == 0, first.stderr
    assert "W&B cannot be reached, this run is kept offline: " in first.stdout
    assert "W&B offline, nothing was sent. To send: wandb sync " in first.stdout
    logged = read_run(tmp_path / "run")
    assert logged["exit_code"] == 0
    curve = [i for i, row in enumerate(logged["history"]) if "loss/a" in row]
    (result,) = [i for i, row in enumerate(logged["history"]) if "scores/p_original" in row]
    assert len(curve) == 15
    assert max(curve) < result, "the curves come while the image is optimised"
    assert [logged["history"][i]["step"] for i in curve] == list(range(15))
    assert not any("explanation" in row for row in logged["history"])
    assert not [*logged["folder"].rglob("*.png")]
    (about,) = [r.run for r in records(next(logged["folder"].glob("*.wandb"))) if r.HasField("run")]
    assert about.job_type == "explain"
    assert about.display_name == "fido both mean run"
    assert [*about.tags] == ["fido", "both", "mean"]
    before = runs(tmp_path / "run")
    again = explain(tmp_path, *line)
    assert "1 images done, 0 to do" in again.stdout
    assert "run/figures/a.class1.seed0.png" in again.stdout, "the table is printed again"
    assert "bright" in again.stdout
    assert runs(tmp_path / "run") == before, "nothing to do makes no W&B run"


ONLINE = {
    **environment(),
    "WANDB_MODE": "online",
    "WANDB_API_KEY": KEY,
    "WANDB_BASE_URL": "http://127.0.0.1:9",
}


def test_a_sweep_leaves_its_tables_in_a_run_of_its_own_once(tmp_path):
    write_photo(tmp_path / "photos" / "a.png")
    line = ["data=folder", "data.path=photos", "explainer.steps=2", "seed=0,1"]
    line += ["figures=false", "hydra.sweep.dir=outputs/sweeps/mine"]
    for _ in range(2):
        swept = explain(tmp_path, *line)
        assert swept.returncode == 0, swept.stderr
        assert "job 1 of 2: seed=0\n" in swept.stdout
        assert "job 2 of 2: seed=1\n" in swept.stdout
        sweep = tmp_path / "outputs/sweeps/mine"
        assert {len(runs(job)) for job in sweep.glob("seed=*")} == {1}
        logged = read_run(sweep)  # of exactly one
    assert logged["group"] == "mine"
    (row,) = [row for row in logged["history"] if "tables/Regions" in row]
    table = json.loads((logged["folder"] / "files" / row["tables/Regions"]["path"]).read_text())
    assert table["columns"][:2] == ["run", "results"]
    assert [line[0] for line in table["data"]] == ["seed=0", "seed=1"]
    names = [(a.name, a.type) for a in logged["artifacts"] if a.type == "report"]
    assert names == [("report-mine", "report")]


@pytest.mark.parametrize("asked", [False, True])
def test_trained_weights_are_an_artifact_where_that_is_asked_for(tmp_path, asked):
    folder = tmp_path / "größer (2)"
    weights, classes = folder / "ema.safetensors", folder / "classes.json"
    logger = WandbRunLogger(str(folder), {"training": {}}, mode="offline", log_model=asked)
    training = logger.lightning()
    weights.write_bytes(b"weights")
    classes.write_text('["cat", "dog"]')
    logger.model([weights, classes])
    training.experiment.log({"train/loss": 1})
    close(training)
    found = [
        (artifact.name, artifact.type, sorted(entry.path for entry in artifact.manifest.contents))
        for artifact in read_run(folder)["artifacts"]
    ]
    expected = [("model-gr-er-2-", "model", ["classes.json", "ema.safetensors"])]
    assert found == (expected if asked else [])
