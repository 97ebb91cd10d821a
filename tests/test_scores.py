import pytest
import torch

from fido.scores import log_odds, log_probability, probability


def test_log_odds_equal_log_p_minus_log_rest_in_float64():
    logits, target = torch.randn(5, 7, dtype=torch.float64) * 3, torch.tensor([0, 6, 3, 2, 2])
    p = logits.softmax(1)[torch.arange(5), target]
    expected = torch.log(p) - torch.log1p(-p)
    torch.testing.assert_close(log_odds(logits, target), expected.float())


@pytest.mark.parametrize("margin", [10.0, 16.0, 60.0, 500.0])
def test_log_odds_do_not_saturate(margin):
    logits = torch.tensor([[margin, 0.0, 0.0]], requires_grad=True)
    score = log_odds(logits, torch.tensor([0]))
    assert score.item() == pytest.approx(margin - torch.log(torch.tensor(2.0)).item(), abs=1e-4)
    score.sum().backward()
    assert logits.grad[0, 0] == 1
    assert logits.grad.isfinite().all()


def test_rows_do_not_influence_each_other():
    quiet = torch.tensor([[1.0, 2.0, 3.0]])
    loud = torch.tensor([[1000.0, 0.0, 0.0]])
    target = torch.tensor([1, 1])
    together = log_odds(torch.cat([quiet, loud]), target)
    torch.testing.assert_close(together[:1], log_odds(quiet, target[:1]), rtol=0, atol=0)


def test_probability_is_the_softmax():
    logits, target = torch.randn(3, 4), torch.tensor([1, 0, 3])
    expected = logits.softmax(1)[torch.arange(3), target]
    torch.testing.assert_close(probability(logits, target), expected)
    torch.testing.assert_close(log_probability(logits, target), expected.log())
