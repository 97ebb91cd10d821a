"""What asks for a package that is not installed says how to get it."""

import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from configurations import command_config
from hydra.errors import HydraException

from fido.app import dashboard
from fido.app.messages import explained
from fido.app.ray import Ray
from fido.classifiers.huggingface import huggingface_classifier
from fido.data.photo import UnreadableImageError, open_photo
from fido.infillers.diffusers_inpaint import DiffusersInfiller

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def launcher():
    command_config("explain", "hydra/launcher=joblib")


def slurm():
    command_config("explain", "hydra/launcher=submitit_slurm")


def sweeper():
    command_config("explain", "hydra/sweeper=optuna")


def photo(suffix):
    def read():
        Path(f"x.{suffix}").touch()
        open_photo(Path(f"x.{suffix}"))

    return read


USES = {
    "heic": ("pillow_heif", photo("heic")),
    "dicom": ("pydicom", photo("dcm")),
    "huggingface": ("transformers", lambda: huggingface_classifier("folder")),
    "diffusers": ("diffusers", lambda: DiffusersInfiller("folder")),
    "dashboard": ("wandb_workspaces", lambda: dashboard.run(command_config("dashboard"))),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", launcher),
    "submitit": ("hydra_plugins.hydra_submitit_launcher", slurm),
    "optuna": ("hydra_plugins.hydra_optuna_sweeper", sweeper),
    "ray": ("ray", lambda: Ray()(command_config("explain", "output_dir=out"), {})),
}


def test_every_extra_is_tried():
    """Parquet files are written where they can be; nothing asks for them."""
    assert {*USES, "parquet"} == {*EXTRAS} - {"test", "dev", "docs", "all"}


@pytest.mark.parametrize("extra", USES)
def test_a_missing_extra_ends_in_its_pip_line(extra, tmp_path, monkeypatch):
    package, use = USES[extra]
    if package.startswith("hydra_plugins") and find_spec("hydra_plugins") is not None:
        pytest.skip("plugins of Hydra are installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fido.loggers.wandb_dashboard", raising=False)
    with pytest.raises((ImportError, UnreadableImageError, HydraException)) as raised:
        use()
    words = explained(raised.value)
    assert f"pip install 'fido-xai[{extra}]'" in words
    assert len(words.splitlines()) == 1
