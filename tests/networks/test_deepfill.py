"""The network against the outputs of the authors' graph, and against slow loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from deepfill_fixture import fixture, rule_arrays

import fido.networks.deepfill as deepfill
from fido.networks.deepfill import DeepFill, contextual_attention, nearest_aligned, same_padding
from fido.weights.deepfill import variables

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def network():
    arrays = rule_arrays()
    state = {}
    for variable in variables():
        value = torch.from_numpy(arrays[variable.name])
        state[variable.state_key] = value.permute(3, 2, 0, 1) if value.ndim == 4 else value
    network = DeepFill()
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def outputs(network):
    return network(fixture("img") / 127.5 - 1, fixture("mask"))


def difference(got, name):
    return float((got - fixture(name)).abs().max())


def test_parameters():
    assert sum(p.numel() for p in DeepFill().parameters()) == 3_601_542


def test_coarse_and_refined_images_are_the_authors(network):
    coarse, refined = outputs(network)
    assert difference(coarse, "x1") < TOLERANCE
    assert difference(refined, "x2") < TOLERANCE


@pytest.mark.parametrize("case", ["ca", "ca2"])
def test_contextual_attention_is_the_authors(case):
    got = contextual_attention(fixture(f"{case}_in"), fixture(f"{case}_mask"))
    assert difference(got, f"{case}_out") < TOLERANCE


def test_without_a_valid_key_attention_is_zero():
    got = contextual_attention(fixture("ca2_in"), fixture("ca2_mask"))
    assert fixture("ca2_mask")[2].min() == 1
    assert torch.equal(got[2], torch.zeros_like(got[2]))


def symmetric(size, kernel, stride, dilation):
    return (dilation * (kernel - 1) // 2,) * 2


def test_symmetric_padding_fails_the_fixture(network, monkeypatch):
    monkeypatch.setattr(deepfill, "same_padding", symmetric)
    _, refined = outputs(network)
    assert difference(refined, "x2") > 0.1


def test_plain_nearest_fails_the_fixture(network, monkeypatch):
    monkeypatch.setattr(deepfill, "nearest_aligned", lambda x, size: F.interpolate(x, size))
    _, refined = outputs(network)
    assert difference(refined, "x2") > 0.1


def test_rgb_for_bgr_fails_the_fixture(network):
    _, refined = network(fixture("img").flip(1) / 127.5 - 1, fixture("mask"))
    assert difference(refined.flip(1), "x2") > 0.1


def test_one_fuse_pass_fails_the_fixture(network, monkeypatch):
    monkeypatch.setattr(
        deepfill, "fuse_scores", lambda scores, size: deepfill._add_diagonal_neighbours(scores)
    )
    _, refined = outputs(network)
    assert difference(refined, "x2") > 0.01


def test_rows_have_their_own_masks(network):
    image, hole = fixture("img") / 127.5 - 1, fixture("mask")
    together = network(image, hole)[1]
    alone = torch.cat([network(image[i : i + 1], hole[i : i + 1])[1] for i in range(2)])
    assert float((together - alone).abs().max()) < TOLERANCE


def test_pixels_in_the_hole_are_not_looked_at(network):
    image, hole = fixture("img") / 127.5 - 1, fixture("mask")
    changed = torch.where(hole == 1, torch.rand_like(image), image)
    assert torch.equal(network(image, hole)[1], network(changed, hole)[1])


def test_sides_must_be_multiples_of_eight(network):
    with pytest.raises(ValueError, match="multiples of 8 pixels, got 60 x 64"):
        network(torch.zeros(1, 3, 60, 64), torch.zeros(1, 1, 60, 64))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((256, 3, 2, 1), (0, 1)),
        ((255, 3, 2, 1), (1, 1)),
        ((256, 5, 1, 1), (2, 2)),
        ((64, 3, 1, 16), (16, 16)),
        ((64, 4, 2, 1), (1, 1)),
    ],
)
def test_same_padding(arguments, expected):
    assert same_padding(*arguments) == expected


@pytest.mark.parametrize(("n_in", "n_out"), [(256, 64), (64, 32), (18, 9), (26, 13)])
def test_nearest_aligned_indices(n_in, n_out):
    ramp = torch.arange(n_in, dtype=torch.float32).view(1, 1, n_in, 1)
    got = nearest_aligned(ramp, (n_out, 1)).flatten().long().tolist()
    # floor(i (n_in - 1) / (n_out - 1) + 1/2) in exact integers
    step = n_out - 1
    assert got == [(2 * i * (n_in - 1) + step) // (2 * step) for i in range(n_out)]
    assert not torch.equal(F.interpolate(ramp, (n_out, 1)), nearest_aligned(ramp, (n_out, 1)))


def slow_attention(x, hole):
    """One image, step by step in float64: patches, scores, two fuse passes, softmax, paste."""
    h, w = x.shape[1:]
    rows, columns = h // 2, w // 2
    picked = [[int(i * (n - 1) / (n // 2 - 1) + 0.5) for i in range(n // 2)] for n in (h, w)]
    small = np.pad(x[:, picked[0]][:, :, picked[1]], ((0, 0), (1, 1), (1, 1)))
    small_hole = np.pad(hole[picked[0]][:, picked[1]], 1)
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    queries = np.stack([small[:, i : i + 3, j : j + 3].ravel() for i, j in cells])
    valid = np.array([small_hole[i : i + 3, j : j + 3].sum() == 0 for i, j in cells])
    keys = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-4)
    scores = queries @ keys.T

    def fuse(s):
        n = len(s)
        fused = np.zeros_like(s)
        for p in range(n):
            for q in range(n):
                for k in (-1, 0, 1):
                    if 0 <= p + k < n and 0 <= q + k < n:
                        fused[p, q] += s[p + k, q + k]
        return fused

    column_major = np.array([i * columns + j for j in range(columns) for i in range(rows)])
    scores = fuse(scores)
    fused = fuse(scores[np.ix_(column_major, column_major)])
    scores[np.ix_(column_major, column_major)] = fused
    logits = 10 * scores * valid
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights = weights / weights.sum(axis=1, keepdims=True) * valid
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    out = np.zeros_like(padded)
    for p, (i, j) in enumerate(cells):
        for q, (k, m) in enumerate(cells):
            patch = padded[:, 2 * k : 2 * k + 4, 2 * m : 2 * m + 4]
            out[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += weights[p, q] * patch / 4
    return out[:, 1:-1, 1:-1]


def test_batched_attention_agrees_with_loops():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 12, 16, generator=generator) * 0.2
    hole = torch.zeros(2, 1, 12, 16)
    hole[0, :, 3:6, 5:9] = 1
    hole[1, :, :, :7] = 1
    got = contextual_attention(x, hole)
    for row in range(2):
        expected = slow_attention(x[row].double().numpy(), hole[row, 0].numpy())
        assert np.abs(got[row].numpy() - expected).max() < 1e-5
