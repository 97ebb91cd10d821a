"""Distances of sets of feature vectors against torchmetrics and plain loops."""

import math

import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from fido.metrics.functional.feature_distance import kernel_distance, neighbour_distance


def vectors(n, d=6, seed=0, shift=0.0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) + shift


def test_kernel_distance_of_equally_many_is_torchmetrics():
    a, b = vectors(12).double(), vectors(12, seed=1, shift=0.5).double()
    assert kernel_distance(a, b) == pytest.approx(float(poly_mmd(a, b)), rel=1e-6)


def test_kernel_distance_is_the_slow_double_loop():
    a, b = vectors(5), vectors(8, seed=1, shift=1.0)

    def k(x, y):
        return (float(x.double() @ y.double()) / 6 + 1) ** 3

    aa = sum(k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j) / 20
    bb = sum(k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j) / 56
    ab = sum(k(x, y) for x in a for y in b) / 40
    assert kernel_distance(a, b) == pytest.approx(aa + bb - 2 * ab)


def test_kernel_distance_of_one_distribution_scatters_around_0():
    found = [kernel_distance(vectors(20, seed=i), vectors(30, seed=100 + i)) for i in range(60)]
    mean = sum(found) / 60
    spread = (sum((x - mean) ** 2 for x in found) / 59) ** 0.5
    assert abs(mean) < 3 * spread / 60**0.5
    assert min(found) < 0
    with pytest.raises(ValueError, match="two vectors"):
        kernel_distance(vectors(1), vectors(5))


def test_the_kth_neighbour():
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert [neighbour_distance(torch.tensor([1.0]), line, k) for k in (1, 2, 3, 4)] == [0, 1, 2, 6]
    assert math.isnan(neighbour_distance(torch.tensor([1.0]), line, 5))
