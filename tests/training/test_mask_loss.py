"""The masking network's losses, by hand."""

import pytest
import torch

from fido.training.mask_loss import HingeLoss, PaperLoss, lead, squared_variation


def test_squared_variation_by_hand():
    keep = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    # Down: .25 + .25; right: 1 + 0; every value lies on two borders.
    assert float(squared_variation(keep)) == pytest.approx(1.5)
    assert float(squared_variation(keep, 0.3)) == pytest.approx(1.5 + 0.3 * 2 * 1.5)


def test_hinge_loss_by_hand_and_with_roles_swapped():
    keep = torch.full((2, 1, 2, 2), 0.25)
    kept = torch.tensor([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
    dropped = torch.tensor([[0.0, 2.0, 0.0], [0.0, 2.0, 0.0]])
    target = torch.tensor([0, 0])
    assert lead(kept, target).tolist() == [2.0, 2.0]
    terms = HingeLoss()(keep, kept, dropped, target, torch.tensor([True, False]))
    # Real: kept leads by 2 > 1, dropped is 2 behind where 5 are wanted. For a class that is not
    # there, kept should be 1 behind and dropped 1 ahead.
    assert float(terms["preserve"]) == pytest.approx((0 + 3) / 2)
    assert float(terms["destroy"]) == pytest.approx((3 + 3) / 2)
    assert float(terms["area"]) == pytest.approx(0.2505**0.3)
    variation = 0.3 * 8 * 0.25**2 / 2
    assert float(terms["variation"]) == pytest.approx(variation)
    loss = 3 + 0.3 * 1.5 + 8 * 0.2505**0.3 + 0.005 * variation
    assert float(terms["loss"]) == pytest.approx(loss)


def test_paper_loss_by_hand():
    keep = torch.full((2, 1, 2, 2), 0.25)
    kept, dropped = torch.tensor([[2.0, 0.0]] * 2), torch.tensor([[-1.0, 0.0]] * 2)
    real = torch.tensor([True, False])
    terms = PaperLoss()(keep, kept, dropped, torch.tensor([0, 0]), real)
    p_kept, p_dropped = kept.softmax(1)[0, 0], dropped.softmax(1)[0, 0]
    assert float(terms["preserve"]) == pytest.approx(float(-p_kept.log() / 2))
    assert float(terms["destroy"]) == pytest.approx(float(p_dropped**0.3 / 2))
    expected = -p_kept.log() / 2 + 5 * p_dropped**0.3 / 2 + 1e-3 * 0.25
    assert float(terms["loss"]) == pytest.approx(float(expected))


def test_paper_loss_has_a_finite_gradient_at_probability_zero():
    dropped = torch.tensor([[-400.0, 0.0]], requires_grad=True)
    keep = torch.full((1, 1, 2, 2), 0.5)
    terms = PaperLoss()(keep, torch.zeros(1, 2), dropped, torch.tensor([0]), torch.tensor([True]))
    terms["loss"].backward()
    assert bool(dropped.grad.isfinite().all())
