import pytest
import torch

from fido.masks.objectives import SDR, SSR, total_variation


def slow_loss(kind, score, keep, sparsity, tv, warmup, step):
    """Loops over pixels, from the formulas of the paper's text."""
    images = []
    for b in range(keep.shape[0]):
        size = variation = 0.0
        height, width = keep.shape[-2:]
        for y in range(height):
            for x in range(width):
                value = float(keep[b, 0, y, x])
                size += value if kind == "ssr" else 1 - value
                if y:
                    variation += (value - float(keep[b, 0, y - 1, x])) ** 2
                if x:
                    variation += (value - float(keep[b, 0, y, x - 1])) ** 2
        weight = min(1.0, step / warmup) if warmup else 1.0
        sign = -1 if kind == "ssr" else 1
        images.append(sign * float(score[b]) + weight * (sparsity * size + tv * variation))
    return torch.tensor(images)


@pytest.mark.parametrize(("kind", "objective"), [("ssr", SSR), ("sdr", SDR)])
@pytest.mark.parametrize("step", [0, 7, 30, 200])
def test_loss_equals_the_slow_loop(kind, objective, step):
    score, keep = torch.randn(2), torch.rand(2, 1, 5, 4)
    fast = objective(0.3, 0.7, 30).loss(score, keep, step)
    torch.testing.assert_close(fast, slow_loss(kind, score, keep, 0.3, 0.7, 30, step))


def test_no_warmup_means_full_penalty_from_the_first_step():
    keep = torch.full((1, 1, 4, 4), 0.5)
    assert SSR(1.0, warmup_steps=0).loss(torch.zeros(1), keep, 0).item() == pytest.approx(8.0)


def test_the_two_objectives_read_the_same_mask_in_opposite_ways():
    keep = torch.rand(1, 1, 3, 3)
    torch.testing.assert_close(
        SSR(0.1).saliency(keep) + SDR(0.1).saliency(keep), torch.ones_like(keep)
    )


def test_total_variation_of_a_step_edge():
    prob = torch.zeros(1, 1, 4, 6)
    prob[..., 3:] = 1
    assert total_variation(prob).item() == 4


@pytest.mark.parametrize("name", ["sparsity", "total_variation", "warmup_steps"])
def test_negative_numbers_are_named(name):
    with pytest.raises(ValueError, match=name):
        SSR(**{"sparsity": 0.1, name: -1})
