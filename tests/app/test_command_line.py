"""`fido` as it is installed: help, lists and versions at once, commands in any folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import FAST
from configurations import CONF
from planted import write_photo

import fido
from fido.app.catalogue import KINDS
from fido.app.command_line import COMMANDS, plain_errors
from fido.app.help import command_help, groups_of, options_of, read_header
from fido.app.sweep_end import at_end, sweep_results

ROOT = Path(__file__).resolve().parents[2]


def run(folder, *words, code="from fido.app.command_line import main; main()", path=ROOT):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HYDRA"))}
    modules = os.pathsep.join([str(path), str(ROOT / "tests" / "helpers")])
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**clean, "PYTHONPATH": modules, "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_nothing_waits_for_torch_that_needs_none(tmp_path):
    """One process for all, because starting one is most of the time."""
    code = f"""
import sys, time
from fido.app.command_line import main, script
started = time.process_time()
for command in {COMMANDS}:
    sys.argv = [f"{{command}}.py", "--help"]
    script(command)
for words in (["--version"], ["--help"], ["list"]):
    sys.argv = ["fido", *words]
    main()
assert not {{"torch", "pytorch_lightning", "wandb"}} & set(sys.modules)
assert time.process_time() - started < 2
"""
    done = run(tmp_path, code=code)
    assert done.returncode == 0, done.stderr
    assert f"fido {fido.__version__}" in done.stdout
    assert "python explain.py infiller=blur objective=sdr" in done.stdout
    assert not list(tmp_path.iterdir()), "help leaves no files"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_the_commands_own_groups_settings_and_examples(command):
    shown = command_help(command, f"fido {command}")
    assert shown.count(f"\n  fido {command}") >= 3, "three examples"
    for group in groups_of(command):
        assert f"\n{group}=" in shown
        for option, path in options_of(command, group).items():
            assert f"\n  {option}" in shown
            assert read_header(path).first in shown
    for other in {*groups_of("train"), *groups_of("explain")} - {*groups_of(command)}:
        assert f"\n{other}=" not in shown
    for line in (CONF / f"{command}.yaml").read_text().splitlines():
        name, colon, rest = line.partition(": ")
        if colon and name.isidentifier() and "  # " in rest:
            assert rest.split("  # ")[1] in shown


def test_help_shows_the_settings_of_a_chosen_option():
    shown = command_help("explain", "fido explain", ["explainer=lime", "metrics=[deletion]"])
    assert "  explainer.superpixels=50  SLIC's n_segments" in shown
    assert "  metrics.deletion.pixels_per_step=1792" in shown
    assert "  epochs=20" in command_help("train", "fido train", ["model=vae"])


def test_the_list_has_source_and_cost_of_everything(tmp_path):
    for group in KINDS.values():
        for path in options_of("explain", group).values():
            facts = read_header(path).facts
            assert "source" in facts, path
            assert "cost" in facts or group in ("objective", "classifier"), path
            assert "weights" in facts or group not in ("classifier",), path
    done = run(tmp_path, "list", "infillers", "explainer")
    assert done.returncode == 0, done.stderr
    for option in [*options_of("explain", "infiller"), *options_of("explain", "explainer")]:
        assert option in done.stdout
    assert "big-lama.pt" in done.stdout
    assert "deletion" not in done.stdout.split()
    wrong = run(tmp_path, "list", "metrik")
    assert (wrong.returncode, "explainers, infillers" in wrong.stderr) == (1, True)


def test_an_installed_fido_works_in_any_folder(tmp_path):
    """The files of a wheel: the package with conf/ inside, and no clone around it."""
    site = tmp_path / "site-packages"
    shutil.copytree(ROOT / "fido", site / "fido", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CONF, site / "fido" / "conf")
    folder = tmp_path / "mine"
    write_photo(folder / "photo (1).png")
    (folder / "my_networks.py").write_text("from planted import BoxBrightness as load\n")
    line = [*FAST, "classifier.network._target_=my_networks.load", "logger=none"]
    line += ["data=folder", "data.path=photo (1).png", "explainer.steps=3"]
    done = run(folder, "explain", *line, path=site)
    assert done.returncode == 0, done.stderr
    assert len([*folder.glob("outputs/*/*/explanations/*.safetensors")]) == 1
    named = run(folder, "explian", path=site)
    assert named.returncode == 1
    assert "there is no command 'explian'; there are explain, evaluate" in named.stderr


def test_what_ends_a_sweep_is_done_whatever_has_failed(capsys):
    done = []

    def fail():
        done.append("fail")
        raise ValueError("no scores")

    def sweep(*acts, error=None):
        with sweep_results():
            for act in acts:
                at_end(act)
            if error is not None:
                raise error

    with pytest.raises(ValueError, match="no scores"):
        sweep(fail, lambda: done.append("sheet"))
    assert done == ["fail", "sheet"]
    with pytest.raises(KeyError, match="job"):
        sweep(fail, error=KeyError("job"))
    assert "error: no scores" in capsys.readouterr().err
    sweep()
    assert done == ["fail", "sheet", "fail"]


def test_errors_end_with_their_words_and_a_code(capsys, monkeypatch):
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    with pytest.raises(SystemExit) as ended, plain_errors():
        raise FileNotFoundError("photo.jpg is not there")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: photo.jpg is not there\n"
    with pytest.raises(SystemExit) as ended, plain_errors():
        raise KeyboardInterrupt
    assert ended.value.code == 130
    with pytest.raises(ZeroDivisionError), plain_errors():
        1 / 0  # noqa: B018
    assert "HYDRA_FULL_ERROR" not in os.environ
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(FileNotFoundError), plain_errors():
        raise FileNotFoundError
