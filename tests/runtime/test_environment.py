"""The surroundings have no say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from planted import planted_classifier, planted_sample

from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR

OTHERS = {
    "PL_TRAINER_MAX_EPOCHS": "3",
    "PL_TRAINER_FAST_DEV_RUN": "true",
    "PL_TRAINER_LIMIT_TRAIN_BATCHES": "1",
    "PL_TRAINER_PRECISION": "bf16-mixed",
    "PL_TRAINER_ACCUMULATE_GRAD_BATCHES": "2",
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "x",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
    "WORLD_SIZE": "4",
    "RANK": "1",
}


def explained():
    classifier, infiller = planted_classifier(), MeanInfiller()
    mask = lambda images, size: ConcreteMask(images, size, grid=10)  # noqa: E731
    explainer = Fido(classifier, infiller, SSR(0.02), mask, steps=5, samples=2)
    return explainer.explain([planted_sample()])[0].saliency


def test_variables_of_others_change_no_map(monkeypatch):
    expected = explained()
    for name, value in OTHERS.items():
        monkeypatch.setenv(name, value)
    assert torch.equal(explained(), expected)
    assert {name: os.environ[name] for name in OTHERS} == OTHERS


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_each_variable_alone_changes_no_map(monkeypatch, name):
    expected = explained()
    monkeypatch.setenv(name, OTHERS[name])
    assert torch.equal(explained(), expected)


def test_names_of_files_are_utf8_whatever_the_locale_says(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from fido.app.command_line import use_utf8\n"
        "use_utf8()\n"
        "print(sys.getfilesystemencoding(), ascii(sys.argv[1]), chr(0xDCFF))\n"
    )
    for surroundings in (
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "nowhere.ISO-8859-1"},
    ):
        clean = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "PYTHONUTF8")}
        told = subprocess.run(
            [sys.executable, str(script), "写真 (1).png"],
            env={**clean, **surroundings, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert told.stdout == "utf-8 '\\u5199\\u771f (1).png' \\udcff\n", told.stderr
