"""Maps of `experiment=paper` (or `preset=paper`) are those of version 0.1, bit for bit if possible.

`fixtures/paper_maps.safetensors` holds the planted photo and the maps that commit e83841a made of
it with 40 steps of `experiment=paper`, one for each infiller.
"""

import json
from pathlib import Path

import pytest
import torch
from configurations import explain_config
from planted import planted_classifier
from safetensors import safe_open
from safetensors.torch import load_file

from fido.app.instantiate import build
from fido.records import Sample

FIXTURE = Path(__file__).parent / "fixtures" / "paper_maps.safetensors"
MAPS = load_file(FIXTURE)


def same_arithmetic():
    """Whether this machine rounds as the one that made the maps."""
    with safe_open(FIXTURE, framework="pt") as file:
        made = json.loads(file.metadata()["made_with"])
    now = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    return all(made[name] == value for name, value in now.items())


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", sorted(set(MAPS) - {"photo"}))
def test_maps_of_the_paper_are_what_they_were(one_thread, name):
    infiller, objective = name.split("_")
    config = explain_config(
        "preset=paper" if objective == "sdr" else "experiment=paper",
        f"infiller={infiller}",
        *(["infiller.reconstruct=true"] if infiller == "vae" else []),  # as the authors' code
        f"objective={objective}",
        "explainer.steps=40",
    )
    classifier = planted_classifier(size=(56, 64))
    explainer = build(
        config.explainer, classifier=classifier, infiller=build(config.infiller), progress=None
    )
    sample = Sample("planted", MAPS["photo"].float() / 255, target=1)
    (explanation,) = explainer.explain([sample])
    if same_arithmetic():
        assert torch.equal(explanation.saliency, MAPS[name])
    else:  # other roundings, amplified by 40 steps of Adam
        torch.testing.assert_close(explanation.saliency, MAPS[name], atol=0.02, rtol=0)
