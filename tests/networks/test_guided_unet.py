"""OpenAI's U-Net: names and shapes of the real files, outputs of a small one of the same kind."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

from fido.diffusion.denoisers.guided_diffusion import GuidedDiffusionDenoiser
from fido.diffusion.guided_checkpoint import KINDS, convert
from fido.diffusion.schedule import learned_variance, posterior, x0_from_noise
from fido.diffusion.trajectory import Steps
from fido.networks.guided_unet import GuidedClassifier, GuidedUNet

TESTS = Path(__file__).parents[1]
SMALL = TESTS / "fixtures" / "guided_diffusion_fixture.npz"
WHOLE = TESTS.parents[1] / "shared" / "specs" / "guided_diffusion_fixture.npz"
INDEX = json.loads((TESTS / "fixtures" / "guided_diffusion_index.json").read_text())


def small_network():
    return GuidedUNet(32, (1, 2), 1, (1,), head_channels=16)


def read(path):
    """The authors' small network and what it gave; in the small file weights are rounded."""
    with np.load(path) as file:
        found = {name: torch.from_numpy(file[name]) for name in file}
    weights = {k[2:]: v.float() for k, v in found.items() if k.startswith("w/")}
    return weights, {k: v for k, v in found.items() if not k.startswith("w/")}


@pytest.fixture(
    params=[
        (SMALL, 4e-3),
        pytest.param(
            (WHOLE, 1e-5), marks=pytest.mark.skipif(not WHOLE.is_file(), reason="not here")
        ),
    ],
    ids=["half", "whole"],
)
def reference(request):
    path, tolerance = request.param
    return *read(path), tolerance


def test_a_small_network_gives_the_authors_output(reference):
    weights, known, tolerance = reference
    network = small_network()
    network.load_state_dict(weights)
    with torch.no_grad():
        output = network(known["x"], known["timestep_map"][known["t"]])
    torch.testing.assert_close(output, known["model_output"], atol=tolerance, rtol=0)


def test_the_denoiser_and_the_step_back_are_the_authors(reference, tmp_path):
    """At the fixture's two steps of a schedule respaced to 25."""
    weights, known, tolerance = reference
    save_file(weights, tmp_path / "w.safetensors")
    denoiser = GuidedDiffusionDenoiser(small_network(), tmp_path / "w.safetensors", (32, 32))
    steps = Steps(25, 0.1)
    torch.testing.assert_close(steps.alpha_bars, known["alphas_cumprod"])
    for row, index in enumerate(known["t"].tolist()):
        x, level = known["x"][row : row + 1], steps.alpha_bar(index)
        with torch.no_grad():
            x0, place = denoiser.estimate(x, level)
        clipped = x0.clamp(-1, 1) if known["pred_xstart"].abs().max() <= 1 else x0
        scale = max(1.0, float(known["pred_xstart"][row].abs().max()))
        expected = {name: known[name][row : row + 1] for name in known if known[name].ndim == 4}
        close = {"atol": 10 * scale * tolerance, "rtol": 0}
        torch.testing.assert_close(clipped, expected["pred_xstart"], **close)
        torch.testing.assert_close(denoiser.x0(x, level), x0, atol=1e-4, rtol=1e-4)
        mean = steps.posterior.mean(index, clipped, x)
        torch.testing.assert_close(mean, expected["mean"], **close)
        variance = steps.variance(index, place)
        torch.testing.assert_close(variance, expected["variance"], atol=1e-5, rtol=tolerance)
        found = variance.log()
        torch.testing.assert_close(found, expected["log_variance"], atol=tolerance, rtol=tolerance)


def test_the_variance_lies_between_its_bounds():
    steps = Steps(25, 0.1)
    bars = steps.alpha_bars
    low, high = (learned_variance(bars, 9, torch.full((1, 1, 1, 1), v)) for v in (-1.0, 1.0))
    assert float(low) == pytest.approx(float(posterior(bars).variance[9]))
    assert float(high) == pytest.approx(float(1 - bars[9] / bars[8]))
    assert steps.variance(0, torch.zeros(1, 3, 2, 2)) == 0.0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_all_names_and_shapes_are_those_of_the_real_checkpoint(kind):
    with torch.device("meta"):
        state = KINDS[kind]().state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == INDEX[kind]


def test_a_small_classifier_looks_at_everything():
    """Attention pooling: no pixel is without influence on the logits."""
    torch.manual_seed(0)
    network = GuidedClassifier(32, (1, 2), 1, (1,), 32, size=16, classes=7)
    x = torch.rand(2, 3, 16, 16, requires_grad=True)
    logits = network(x)
    assert logits.shape == (2, 7)
    (gradient,) = torch.autograd.grad(logits[0].sum(), x)
    assert (gradient[0].abs().sum(0) > 0).all()
    assert (gradient[1] == 0).all()
    assert not torch.equal(network(x, torch.full((2,), 900.0)), logits)


def checkpoint(path, kind, **changes):
    """A file like the real one, its tensors one number each: of its size in shapes alone."""
    state = {n: torch.zeros(()).expand(shape) for n, shape in INDEX[kind].items()}
    torch.save(state | changes, path)
    return path


def test_other_files_are_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        convert(tmp_path / "no.pt", tmp_path / "w.safetensors")
    (tmp_path / "cut.pt").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(ValueError, match="damaged or holds more than tensors"):
        convert(tmp_path / "cut.pt", tmp_path / "w.safetensors")
    torch.save({"model": {"a": torch.zeros(1)}}, tmp_path / "nested.pt")
    with pytest.raises(ValueError, match="no dictionary of tensors"):
        convert(tmp_path / "nested.pt", tmp_path / "w.safetensors")
    other = checkpoint(
        tmp_path / "other.pt", "256x256_diffusion_uncond", **{"out.2.bias": torch.zeros(3)}
    )
    with pytest.raises(ValueError, match=r"1 tensors differ, first out\.2\.bias: got \(3,\)"):
        convert(other, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"written as \*\.safetensors"):
        convert(other, tmp_path / "w.pt")
    assert not list(tmp_path.glob("*.safetensors"))


class Evil:
    def __reduce__(self):
        return print, ("code of a pickle was run",)


def test_no_code_of_a_pickle_is_run(tmp_path, capsys):
    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ValueError, match="more than tensors"):
        convert(tmp_path / "evil.pt", tmp_path / "w.safetensors")
    assert "was run" not in capsys.readouterr().out


def test_a_checkpoint_is_converted_and_loads(tmp_path, monkeypatch):
    weights, _ = read(SMALL)
    monkeypatch.setitem(KINDS, "256x256_diffusion_uncond", small_network)
    torch.save(weights, tmp_path / "small.pt")
    target = tmp_path / "small.safetensors"
    assert convert(tmp_path / "small.pt", target, half=True) == "256x256_diffusion_uncond"
    stored = load_file(target)
    assert {value.dtype for value in stored.values()} == {torch.float16}
    leaf = OmegaConf.load(TESTS.parent / "conf" / "denoiser" / "guided_diffusion.yaml")
    leaf.weights, leaf.size = str(target), [32, 32]
    leaf.network.update(channels=32, multipliers=[1, 2], blocks=1, attention=[1], head_channels=16)
    denoiser = instantiate(leaf)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(denoiser.x0(x, 0.3).sum(), x)
    assert gradient.isfinite().all()
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())


def test_without_weights_it_says_where_they_are():
    with pytest.raises(FileNotFoundError, match=r"convert_guided_diffusion\.py"):
        GuidedDiffusionDenoiser(small_network(), size=(32, 32))
    with pytest.raises(ValueError, match="multiples of 2 px"):
        GuidedDiffusionDenoiser(small_network(), size=(31, 32))


def test_x0_is_that_of_the_noise(tmp_path):
    weights, known = read(SMALL)
    save_file(weights, tmp_path / "w.safetensors")
    denoiser = GuidedDiffusionDenoiser(small_network(), tmp_path / "w.safetensors", (32, 32))
    with torch.no_grad():
        x0, noise = denoiser.estimate(known["x"], 0.3)[0], denoiser.noise(known["x"], 0.3)
    torch.testing.assert_close(x0, x0_from_noise(known["x"], 0.3, noise))
