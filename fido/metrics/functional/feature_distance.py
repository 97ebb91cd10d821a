"""Distances between images, and between sets of images, in the features of a classifier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def feature_distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """(n,) distance in [0, 2]: 1 - cosine of the channel vectors, mean over places, then layers.

    Computed as half the squared distance of the vectors scaled to length 1, so that equal
    features are at distance 0 also where they vanish.

    Args:
        a: A tensor (n, channels, h, w) a layer, or one row for all.
        b: The same layers, (n, channels, h, w).

    Source: Zhang et al. 2018 (LPIPS), without its learned weights of channels.
    """
    each = []
    for one, other in zip(a, b, strict=True):
        unit = functional.normalize(one.double(), dim=1)
        difference = unit - functional.normalize(other.double(), dim=1)
        each.append(difference.square().sum(1).mean((1, 2)) / 2)
    return torch.stack(each).mean(0)


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance of the normal distributions fitted to two sets of feature vectors.

    `|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))`, covariances with n - 1. It is biased
    upwards, the more the smaller the sets are: compare values of equally many vectors only.

    Args:
        a: (n, d), n at least 2.
        b: (m, d), m at least 2.

    Raises:
        ValueError: If a set has fewer than two vectors.

    Source: Heusel et al. 2017 (FID), there of 2048 Inception features.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"two vectors a set are needed, got {len(a)} and {len(b)}")
    a, b = a.double(), b.double()
    cov_a, cov_b = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(b.shape[1], -1)
    # (C_a C_b)^(1/2) has the trace of (S C_b S)^(1/2), S = C_a^(1/2), which is symmetric.
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    squared = (a.mean(0) - b.mean(0)).square().sum()
    return float((squared + cov_a.trace() + cov_b.trace() - 2 * shared).clamp(min=0))


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of feature vectors (KID).

    The kernel is `(x . y / d + 1)^3`. The estimate of equal distributions scatters around 0 and may
    be negative, also for small sets; compare it with that of two sets of photos.

    Args:
        a: (n, d), n at least 2.
        b: (m, d), m at least 2.

    Raises:
        ValueError: If a set has fewer than two vectors.

    Source: Binkowski et al. 2018, section 4, there of 2048 Inception features.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"two vectors a set are needed, got {len(a)} and {len(b)}")
    a, b = a.double(), b.double()

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def within(x: Tensor) -> Tensor:
        values = kernel(x, x)
        return (values.sum() - values.trace()) / (len(x) * (len(x) - 1))

    return float(within(a) + within(b) - 2 * kernel(a, b).mean())


def neighbour_distance(vector: Tensor, others: Tensor, k: int) -> float:
    """Euclidean distance of a vector (d,) to the k-th nearest of others (n, d); NaN below k."""
    if len(others) < k:
        return math.nan
    distances = (others.double() - vector.double()).square().sum(1).sqrt()
    return float(distances.kthvalue(k).values)
