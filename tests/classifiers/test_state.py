"""Checkpoints as trainings leave them."""

import pytest
import torch
from torch import nn

from fido.classifiers.state import load_state, read_state


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module.", "_orig_mod.", "net."])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3, "optimizer_states": [{"lr": 0.1}]},
        lambda state: {"model": state, "optimizer": {"step": 4}},
        lambda state: {"model": {"state_dict": state}},
        lambda state: {"model_state_dict": state},
    ],
)
def test_prefixes_and_wrappers_are_taken_off(prefix, wrap, tmp_path):
    trained = network()
    torch.save(wrap(under(prefix, trained.state_dict())), tmp_path / "net.pt")
    fresh = network()
    nn.init.zeros_(fresh[0].weight)
    load_state(fresh, read_state(tmp_path / "net.pt"), "net.pt")
    for name, tensor in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[name], tensor)


def test_other_parts_of_a_lightning_checkpoint_are_left_out_and_counted(caplog):
    state = {**under("model.", network().state_dict()), "loss.weight": torch.ones(2)}
    load_state(network(), state, "last.ckpt")
    assert "1 tensors without the prefix 'model.'" in caplog.text


def test_old_checkpoints_have_no_batch_counters():
    state = network().state_dict()
    del state["1.num_batches_tracked"]
    load_state(network(), under("module.", state), "old.pth")


def test_a_prefix_that_hides_another_network_is_none():
    other = {"module.0.weight": torch.zeros(4, 3, 3, 3), "module.9.bias": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"tensor 'module\.0\.weight' has no place"):
        load_state(network(), other, "other.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: {"epoch": 3, "model": None}, "a dictionary with epoch, model"),
        (lambda: [torch.ones(2)], "it holds list"),
        (lambda: {}, "does not hold a state dict"),
        (network, "more than tensors.*state_dict"),
    ],
)
def test_what_holds_no_weights_is_said(content, words, tmp_path):
    torch.save(content(), tmp_path / "x.pt")
    with pytest.raises(ValueError, match=words):
        read_state(tmp_path / "x.pt")
