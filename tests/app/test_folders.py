"""Folders of runs: readable, found again by the same line, never shared by accident."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from fido.app.command_line import RunError, single_errors
from fido.app.folders import folder_name, new_folder, remove_begun, sweep_line
from fido.runs.photos import PhotoMismatchError
from fido.runs.result_file import OtherFormatError
from fido.runs.run_settings import SettingsMismatchError
from fido.runtime.folder_lock import alone, at_work


def test_a_name_differs_where_settings_do():
    assert folder_name([]) == "defaults"
    assert folder_name(["seed=1", "infiller=ca"]) == "infiller=ca,seed=1"
    assert folder_name(["infiller=ca", "seed=1"]) == "infiller=ca,seed=1"
    paths = [folder_name([f"data.path={p}"]) for p in ("a b", "a_b", "a/b")]
    assert len(set(paths)) == 3
    assert all("/" not in path and " " not in path for path in paths)
    long = [folder_name([f"data.ids=[{'x' * 200}{i}]"]) for i in (1, 2)]
    assert len(set(long)) == 2
    assert all(len(name) <= 120 for name in long)


def test_who_does_the_work_is_no_part_of_a_name():
    line = ["infiller=ca", "num_shards=2", "shard=1", "executor=ray", "executor.cpus=2"]
    assert folder_name(line) == "infiller=ca"


def test_a_jobs_folder_names_what_the_sweep_changes():
    line = sweep_line(["infiller=ca,vae", "data.only_correct=true", "data.limit=8"], None)
    # As Hydra hands them to a job: switches are written anew.
    job = ["infiller=vae", "data.only_correct=True", "data.limit=8"]
    assert folder_name(job, line) == "infiller=vae"
    assert folder_name(job, sweep_line(job, 3)) == ",".join(sorted(job)), "no line is known"


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path):
    wanted = str(tmp_path / "outputs" / "12-00-00")
    with ThreadPoolExecutor(8) as threads:
        folders = list(threads.map(new_folder, [wanted] * 24))
    assert len(set(folders)) == 24
    assert wanted in folders
    assert all(folder.startswith(wanted) for folder in folders)


@pytest.mark.parametrize(
    ("saved", "goes"),
    [
        ((), True),
        (("wandb/offline-run/run.wandb", "class_names.json", "summary.json"), True),
        (("explanations/a.class0.seed0.safetensors",), False),
        (("not_explained/a.json",), False),
        (("thesis.txt",), False),
    ],
)
def test_of_a_refused_run_only_what_it_began_goes(tmp_path, saved, goes):
    for name in (".hydra/config.yaml", "settings.json", "env.json", *saved):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "explanations").mkdir(exist_ok=True)
    before = sorted(tmp_path.rglob("*"))
    remove_begun(tmp_path)
    assert sorted(tmp_path.rglob("*")) == ([] if goes else before)


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (ValueError("the classifier has no gradient"), False),
        (SettingsMismatchError("other settings"), True),
        (PhotoMismatchError("another photo"), True),
        (OtherFormatError("another version"), True),
    ],
)
def test_what_another_process_began_in_the_folder_meanwhile_stays(
    tmp_path, monkeypatch, error, stays
):
    """Two runs that start at once see an empty folder; the one that comes second is refused."""
    folder = tmp_path / "run"
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    hydra = {"runtime": {"output_dir": str(folder)}, "mode": RunMode.RUN}
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": hydra})

    @single_errors
    def task(cfg):
        folder.mkdir()
        (folder / "settings.json").touch()
        raise error

    with pytest.raises(RunError):
        task(OmegaConf.create({}))
    assert (folder / "settings.json").exists() == stays


@pytest.mark.parametrize("other", [True, False])
def test_what_a_run_with_equal_settings_is_at_work_on_stays(tmp_path, monkeypatch, other):
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    hydra = {"runtime": {"output_dir": str(folder)}, "mode": RunMode.RUN}
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": hydra})
    line = "import sys; from pathlib import Path; from fido.runtime.folder_lock import at_work\n"
    line += "with at_work(Path(sys.argv[1])): print(flush=True); sys.stdin.read()"

    @single_errors
    def task(cfg):
        (folder / "settings.json").touch()
        raise OSError("no room")

    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", line, folder], **pipes) as process:
        process.stdout.readline()
        if not other:  # it has ended, or was killed
            process.kill()
            process.wait()
        with pytest.raises(RunError):
            task(OmegaConf.create({}))
        process.kill()
    assert folder.exists() == other
    assert (folder / "settings.json").exists() == other


def test_a_folder_that_goes_while_somebody_begins_in_it_is_made_again(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()

    def begin():
        with at_work(folder):
            (folder / "settings.json").touch()

    with ThreadPoolExecutor(1) as threads, alone(folder) as nobody_else:
        assert nobody_else
        begun = threads.submit(begin)
        time.sleep(0.3)  # it waits
        folder.rmdir()
    begun.result()
    assert (folder / "settings.json").exists()
    with at_work(folder), alone(folder) as nobody_else:
        assert not nobody_else
