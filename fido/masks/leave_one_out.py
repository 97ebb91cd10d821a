"""A gradient of an expectation over binary masks, from scores alone."""

from __future__ import annotations

from torch import Tensor


def leave_one_out(terms: Tensor, log_prob: Tensor) -> Tensor:
    """Zeros whose gradient is an unbiased one of the expected term, without a backward pass.

    `1/s sum_i (t_i - mean_{j != i} t_j) grad log q(z_i)`: what the other masks of an image give
    is the baseline of each, so that only differences between masks count.

    Args:
        terms: (b, s) what each mask of an image contributes to the loss, without gradient; s >= 2.
        log_prob: (b * s,) log probability of each mask, with gradient.

    Returns:
        (b,) zeros.

    Source: Williams 1992 (REINFORCE); Kool, van Hoof & Welling 2019 (leave-one-out baseline).
    """
    samples = terms.shape[1]
    advantage = (terms - terms.mean(1, keepdim=True)) * (samples / (samples - 1))
    chance = log_prob.view_as(terms)
    return (advantage.detach() * (chance - chance.detach())).mean(1)
