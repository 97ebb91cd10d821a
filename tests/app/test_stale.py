"""The same names with other contents: refused by the real commands, which then change nothing."""

import sys

import pytest
import torch
import warm_process
from command_line import ROOT, environment, explain
from planted import write_photo
from safetensors.torch import save_file
from torchvision.models import get_model

from fido.runs.store import ResultsStore


def weights(path, seed):
    torch.manual_seed(seed)
    save_file(get_model("squeezenet1_1", weights=None, num_classes=2).state_dict(), path)


def content(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_a_network_trained_again_to_the_same_path_is_another_network(tmp_path):
    weights(tmp_path / "net.safetensors", 0)
    write_photo(tmp_path / "p.png")
    line = [
        "classifier=torchvision",
        "classifier.name=squeezenet1_1",
        "classifier.classes=2",
        "classifier.weights=net.safetensors",
        "data=folder",
        "data.path=p.png",
        "explainer=gradient",
        "logger=none",
        "hydra.run.dir=run",
    ]
    command = [sys.executable, str(ROOT / "explain.py"), *line]
    first = warm_process.run([*command, "figures=false"], tmp_path, environment())
    assert first.returncode == 0, first.stderr
    before = content(tmp_path / "run")
    weights(tmp_path / "net.safetensors", 1)
    again = warm_process.run(command, tmp_path, environment())
    assert again.returncode == 1
    assert "networks.classifier" in again.stderr
    assert content(tmp_path / "run") == before
    score = [sys.executable, str(ROOT / "evaluate.py"), "store=run", "metrics=[deletion]"]
    score = [*score, "logger=none", "hydra.run.dir=scores"]
    score = warm_process.run(score, tmp_path, environment())
    assert score.returncode == 1
    assert "explains a classifier with other weights" in score.stderr
    assert not (tmp_path / "scores").exists()


def test_refused_runs_leave_a_store_and_its_name_as_they_were(tmp_path):
    write_photo(tmp_path / "1" / "p.png")
    write_photo(tmp_path / "2" / "p.png", None)
    line = ["data=folder", "explainer.steps=2", "logger=none", "figures=false"]
    assert not explain(tmp_path, *line, "data.path=1/p.png", "hydra.run.dir=run").returncode
    before = content(tmp_path / "run")
    for overrides, words in (
        (["data.path=2/p.png"], "another photo under the id 'p'"),
        (["data.path=1/p.png", "objective.sparsity=0.5"], "objective.sparsity: 0.02 there"),
        (["data.path=1/p.png", "target=cat"], "no name comes near"),
    ):
        refused = explain(tmp_path, *line, *overrides, "hydra.run.dir=run")
        assert refused.returncode == 1
        assert words in refused.stderr
        assert "Traceback" not in refused.stderr
        assert content(tmp_path / "run") == before
    assert explain(tmp_path, *line, "data.path=2/p.png", "target=cat").returncode == 1
    assert not (tmp_path / "outputs").exists()
    (key,) = ResultsStore(tmp_path / "run")
    assert key.image_id == "p"


@pytest.mark.parametrize("part", ["infiller", "explainer"])
def test_files_that_settings_name_are_known_by_their_content(tmp_path, part):
    from configurations import explain_config

    from fido.app.provenance import file_settings

    file = tmp_path / "net.safetensors"
    option = {"infiller": "vae", "explainer": "realtime"}[part]
    line = (f"{part}={option}", f"{part}.weights={file}")
    weights(file, 0)
    before = file_settings(explain_config(*line))["files"][f"{part}.weights"]
    weights(file, 1)
    assert file_settings(explain_config(*line))["files"][f"{part}.weights"] != before
    shipped = file_settings(explain_config(f"{part}={option}"))["files"]
    assert len(shipped[f"{part}.weights"]) == 64
