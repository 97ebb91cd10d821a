"""Configurations composed as the commands compose them."""

from pathlib import Path

from hydra import compose, initialize_config_dir

CONF = Path(__file__).resolve().parents[2] / "conf"


def explain_config(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("explain", ["output_dir=out", *overrides])
