"""All entries of torchvision are loaded as torchvision's own builders load them."""

import copy
import re
from collections import OrderedDict

import pytest
import torch
import torchvision.models
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.regnet import BlockParams

import fido.classifiers.torchvision as ours
from fido.classifiers.torchvision import torchvision_classifier, torchvision_network

NAMES = list_models(module=torchvision.models)
FIRST = {re.match("[a-z]+", name)[0]: name for name in reversed(NAMES)}
"""One network a family: the others differ by sizes, and are slow to build all."""
ENTRIES = [
    pytest.param(
        name,
        entry,
        id=f"{name}-{entry.name}",
        marks=[] if name in FIRST.values() or name == "vit_b_16" else pytest.mark.slow,
    )
    for name in NAMES
    for entry in get_model_weights(name)
]
HEADS = ("googlenet", "inception_v3")


def state_of_file(name, entry, device):
    """What an entry's file holds: random tensors under the file's names."""
    options = {"aux_logits": True, "init_weights": False} if name in HEADS else {}
    if name.startswith("vit"):
        options["image_size"] = entry.transforms().crop_size[0]
    torch.manual_seed(0)
    with torch.device(device):
        state = get_model(name, weights=None, **options).state_dict()
    if name.startswith("densenet"):
        pattern = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
        for key in [key for key in state if pattern.search(key)]:
            value = state.pop(key)
            if not key.endswith("num_batches_tracked"):  # these files are older
                state[pattern.sub(r"\1.\2", key)] = value
        state = OrderedDict(state)  # without the versions of modules, as old files are
    return state


def serve(monkeypatch, state):
    from torchvision.models._api import WeightsEnum

    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *_, **__: copy.copy(state))
    monkeypatch.setattr(ours, "_download", lambda url: copy.copy(state))


@pytest.fixture(autouse=True)
def _regnets_count_on_the_cpu(monkeypatch):
    """Their widths come of tensors, of which the meta device has no values."""
    count = BlockParams.from_init_params.__func__

    def counted(cls, *given, **options):
        with torch.device("cpu"):
            return count(cls, *given, **options)

    monkeypatch.setattr(BlockParams, "from_init_params", classmethod(counted))


@pytest.mark.parametrize(("name", "entry"), ENTRIES)
def test_every_entry_is_the_network_of_its_builder(name, entry, monkeypatch):
    serve(monkeypatch, state_of_file(name, entry, "meta"))
    with torch.device("meta"):
        theirs = get_model(name, weights=entry)
        mine, transforms = torchvision_network(name, entry.name, 1000)
    assert repr(mine) == repr(theirs)
    assert getattr(mine, "transform_input", None) == getattr(theirs, "transform_input", None)
    shapes = [{key: value.shape for key, value in n.state_dict().items()} for n in (mine, theirs)]
    assert shapes[0] == shapes[1]
    assert repr(transforms) == repr(entry.transforms())
    assert "get_state_dict" not in vars(entry)


@pytest.mark.parametrize("name", ["densenet121", "mnasnet0_5", "googlenet"])
def test_an_entry_gives_the_logits_of_its_builder(name, monkeypatch):
    entry = get_model_weights(name).DEFAULT
    serve(monkeypatch, state_of_file(name, entry, "cpu"))
    theirs = get_model(name, weights=entry).eval()
    mine = torchvision_classifier(name)
    how = entry.transforms()
    image = torch.rand(1, 3, *mine.size)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (how.mean, how.std))
    expected = theirs((image - mean) / std)
    torch.testing.assert_close(mine(image), expected, rtol=1e-3, atol=1e-3)
    assert mine.crop_fraction == how.crop_size[0] / how.resize_size[0]


def test_a_file_by_the_name_of_an_entry_is_that_entry(tmp_path):
    entry = get_model_weights("googlenet").DEFAULT
    path = tmp_path / entry.url.rsplit("/", 1)[1]
    torch.save(state_of_file("googlenet", entry, "cpu"), path)
    network, _ = torchvision_network("googlenet", str(path), 1000)
    assert network.transform_input
    path.rename(tmp_path / "mine.pth")
    network, _ = torchvision_network("googlenet", str(tmp_path / "mine.pth"), 1000)
    assert not network.transform_input


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_files_without_auxiliary_heads_load(name, tmp_path):
    network = get_model(name, weights=None, num_classes=4, aux_logits=False, init_weights=False)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    torchvision_network(name, str(tmp_path / "mine.pth"), 4)


@pytest.mark.parametrize("name", ["mnasnet0_5", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_files_of_own_trainings_load_with_any_prefix(name, tmp_path):
    trained = get_model(name, weights=None, num_classes=4)
    state = {f"module.{key}": value for key, value in trained.state_dict().items()}
    torch.save({"model": state}, tmp_path / "mine.pth")
    network, _ = torchvision_network(name, str(tmp_path / "mine.pth"), 4)
    for key, value in trained.state_dict().items():
        assert torch.equal(network.state_dict()[key], value)


@pytest.mark.parametrize(
    ("name", "near"), [("resnet_50", "resnet50"), ("fcn_resnet50", "near"), ("lenet", "near")]
)
def test_what_is_no_classifier_of_torchvision_is_named(name, near):
    with pytest.raises(ValueError, match=f"{name}.*{near}"):
        torchvision_network(name, None, 1000)


def test_a_file_that_does_not_fit_its_entry_is_in_words(monkeypatch):
    serve(monkeypatch, get_model("resnet34", weights=None).state_dict())
    with pytest.raises(ValueError, match=r"resnet18 DEFAULT: Error.*Unexpected key"):
        torchvision_network("resnet18", "DEFAULT", 1000)
    with pytest.raises(ValueError, match="has 1000 classes"):
        torchvision_network("resnet18", "DEFAULT", 7)
