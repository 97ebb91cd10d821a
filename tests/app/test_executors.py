"""The real command, split over processes: by hand, as jobs of a sweep, on a local Ray cluster."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import warm_process
from command_line import command, environment, explain, files
from configurations import explain_config
from planted import BOX, write_photo
from wandb_offline import records

from fido.app.ray import Ray
from fido.runs.store import ResultsStore

METRICS = "metrics=[localization,outside_box]"


@pytest.fixture
def photos(tmp_path):
    """Six boxed photos, and the overrides that select them."""
    left, top, right, bottom = BOX
    lines = ["file,class_index,xmin,ymin,xmax,ymax"]
    for name in "abcdef":
        write_photo(tmp_path / "photos" / "images" / f"{name}.png")
        lines.append(f"{name}.png,1,{left / 48},{top / 40},{right / 48},{bottom / 40}")
    (tmp_path / "photos" / "boxes.csv").write_text("\n".join(lines) + "\n")
    return ["data=boxes", "data.root=photos", "data.resize=squash", METRICS]


def results(run):
    """Name to content of what must be as one process would have left it."""
    mine = (".hydra", "wandb", "env")  # of each process
    found = {k: v for k, v in files(run).items() if k.partition("/")[0] not in mine}
    del found["env.json"]
    return found


def test_two_shards_at_once_leave_the_files_of_one_process(tmp_path, photos):
    line = [*photos, "explainer.steps=20"]
    shards = [
        warm_process.start(
            command(*line, "num_shards=2", f"shard={shard}", "hydra.run.dir=run"),
            tmp_path,
            environment(),
            anew=shard == 0,  # with another seed of hashes
        )
        for shard in (0, 1)
    ]
    said = [shard.communicate(timeout=240) for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0], said
    for index, (words, _) in enumerate(said):
        assert f"shard_{index}_of_2: 0 images done, 3 to do" in words
    whole = explain(tmp_path, *line, "logger=none", "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    run = tmp_path / "run"
    assert results(run) == results(tmp_path / "whole")
    assert (run / "evaluation" / "tables.md").is_file()
    assert json.loads((run / "summary.json").read_text())["images"] == {"explained": 6}
    logged = set()
    for path in run.glob("wandb/offline-run-*/run-*.wandb"):
        (head,) = [r.run for r in records(path) if r.WhichOneof("record_type") == "run"][:1]
        logged.add((head.display_name, head.run_group))
    name = "fido both mean run shard_{}_of_2"
    assert logged == {(name.format(0), "run"), (name.format(1), "run")}
    for shard in ("shard_0_of_2", "shard_1_of_2"):
        assert json.loads((run / "env" / f"{shard}.json").read_text())["pid"]
        assert (run / ".hydra" / shard / "overrides.yaml").is_file()


def test_shards_can_be_the_jobs_of_a_sweep(tmp_path, photos):
    line = ["objective=ssr,sdr", "num_shards=2", *photos, "explainer.steps=3", "logger=none"]
    done = explain(tmp_path, "shard=0,1", *line)
    assert done.returncode == 0, done.stderr
    (sweep,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert "shard" not in sweep.name
    for objective in ("ssr", "sdr"):
        assert len(ResultsStore(sweep / f"objective={objective}")) == 6
    summary = json.loads((sweep / "evaluation" / "summary.json").read_text())
    assert set(summary["images"]) == {"objective=ssr", "objective=sdr"}
    assert (sweep / "contact_sheet.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_shards": 0}, "executor.num_shards must be a whole number from 1, or null; got 0"),
        ({"max_retries": -2}, "executor.max_retries must be a whole number from -1, got -2"),
        ({"cpus": 0}, "executor.cpus must be above 0, got 0"),
        ({"gpus": -1}, "executor.gpus must be 0 or more, got -1"),
    ],
)
def test_wrong_numbers_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Ray(**arguments)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    config = explain_config(f"output_dir={tmp_path}", "executor=ray")
    with pytest.raises(ImportError, match=r"pip install 'fido-xai\[ray\]'"):
        Ray()(config, {})
    with pytest.raises(ValueError, match="executor=ray splits the images itself"):
        Ray()(explain_config(f"output_dir={tmp_path}", "num_shards=2"), {})


def test_nobody_at_an_address_is_said_at_once(tmp_path):
    pytest.importorskip("ray", reason="needs the extra `ray`")
    config = explain_config(f"output_dir={tmp_path}")
    with pytest.raises(ConnectionError, match=r"executor.address=127.0.0.1:1 .*ray start --head"):
        Ray("127.0.0.1:1")(config, {})


def test_ray_restarts_a_dead_worker_and_leaves_the_files_of_one_process(tmp_path, photos):
    pytest.importorskip("ray", reason="needs the extra `ray`")
    line = [*photos, "explainer.steps=150", "logger=none"]
    # Ray keeps its token below HOME.
    process = subprocess.Popen(
        command(*line, "executor=ray", "executor.num_shards=2", "hydra.run.dir=run"),
        cwd=tmp_path,
        env={**environment(), "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    run, until = tmp_path / "run", time.monotonic() + 200
    note = run / "env" / "shard_0_of_2.json"
    while not note.is_file() or "a" not in ResultsStore(run):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.05)
    first = json.loads(note.read_text())["pid"]
    os.kill(first, signal.SIGKILL)
    said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    assert json.loads(note.read_text())["pid"] != first
    assert "shard_0_of_2: 0 images done" in said
    assert "shard_0_of_2: 1 images done" in said or "shard_0_of_2: 2 images done" in said
    whole = explain(tmp_path, *line, "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    assert results(run) == results(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_two_machines_of_a_cluster_one_is_killed(tmp_path, photos, monkeypatch):
    pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("HOME", str(tmp_path))  # Ray keeps its token there
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster()
    line = [*photos, "explainer.steps=150", "logger=none"]
    run, until = tmp_path / "run", time.monotonic() + 300
    try:
        cluster.add_node(**node)
        other = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
        process = subprocess.Popen(
            command(
                *line,
                "executor=ray",
                f"executor.address='{cluster.address}'",
                "executor.num_shards=2",
                "hydra.run.dir=run",
            ),
            cwd=tmp_path,
            env={**environment(), "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while len(list(run.glob("env/shard_*.json"))) < 2 or len(ResultsStore(run)) < 2:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.05)
        before = {path: path.read_bytes() for path in run.glob("explanations/*")}
        cluster.remove_node(other, allow_graceful=False)
        said = process.communicate(timeout=300)[0]
    finally:
        cluster.shutdown()
    assert process.returncode == 0, said
    assert all(path.read_bytes() == content for path, content in before.items())
    assert "shard_0_of_2: 0 images done" in said
    assert "shard_1_of_2: 0 images done" in said
    whole = explain(tmp_path, *line, "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    assert results(run) == results(tmp_path / "whole")
