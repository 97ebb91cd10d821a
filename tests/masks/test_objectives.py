import pytest
import torch

from fido.masks.objectives import SDR, SSR, Both, total_variation


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


def test_both_equals_the_slow_loop():
    score, keep = torch.randn(4), torch.rand(2, 1, 5, 4)
    fast = Both(0.3, 0.7, 30, balance=0.2).loss(score, keep, 7)
    for i in range(2):
        size = variation = 0.0
        for y in range(5):
            for x in range(4):
                size += float(keep[i, 0, y, x])
                if y:
                    variation += float(keep[i, 0, y, x] - keep[i, 0, y - 1, x]) ** 2
                if x:
                    variation += float(keep[i, 0, y, x] - keep[i, 0, y, x - 1]) ** 2
        kept, rest = float(score[2 * i]), float(score[2 * i + 1])
        slow = -0.8 * kept + 0.2 * rest + 7 / 30 * (0.3 * size + 0.7 * variation)
        assert float(fast[i]) == pytest.approx(slow, rel=1e-5)


def test_both_scores_each_drawn_mask_and_its_complement():
    drawn = torch.rand(6, 1, 3, 4)  # two images of three masks
    views = Both(0.1).views(drawn, 3)
    assert torch.equal(views.view(2, 2, 3, 1, 3, 4)[:, 0].flatten(0, 1), drawn)
    assert torch.equal(views.view(2, 2, 3, 1, 3, 4)[:, 1].flatten(0, 1), 1 - drawn)


def test_both_at_the_ends_of_its_balance_is_ssr_and_sdr():
    kept, rest, keep = torch.randn(2), torch.randn(2), torch.rand(2, 1, 5, 4)
    score = torch.stack([kept, rest], 1).flatten()
    ssr = SSR(0.3, 0.1).loss(kept, keep, 9)
    sdr = SDR(0.3, 0.1).loss(rest, 1 - keep, 9)  # what it keeps is what the region leaves
    torch.testing.assert_close(Both(0.3, 0.1, balance=0).loss(score, keep, 9), ssr)
    torch.testing.assert_close(Both(0.3, 0.1, balance=1).loss(score, keep, 9), sdr)


def test_saturating_scores_are_their_formulas():
    log_odds = torch.tensor([[[-6.0, 1.0, 9.0], [-6.0, 1.0, 9.0]]])
    photo = torch.tensor([4.0])
    assert torch.equal(Both(0.1).rated(log_odds, None), log_odds)
    p = log_odds.double().sigmoid()
    log_p = Both(0.1, score="log_probability").rated(log_odds, None)
    torch.testing.assert_close(log_p[:, 0], p[:, 0].log().float())
    torch.testing.assert_close(log_p[:, 1], -(1 - p[:, 1]).log().float())
    clipped = Both(0.1, score="clipped_log_odds").rated(log_odds, photo)
    assert clipped.tolist() == [[[-6, 1, 4], [-4, 1, 9]]]
    unsure = Both(0.1, score="clipped_log_odds").rated(log_odds, -photo)
    assert unsure.tolist() == [[[-6, -4, -4], [-4, 1, 9]]]
    with pytest.raises(ValueError, match="photo"):
        SSR(0.1, score="clipped_log_odds").rated(log_odds[:, :1], None)


def test_no_region_is_asked_for_more_than_infilling_everything_takes():
    """Of three photos: the class is gone without anything, it is left, it grows."""
    objective = Both("auto", keep_share=0.9, removed_share=0.1)
    photo, erased = torch.tensor([3.0, 3.0, 1.0]), torch.tensor([-9.0, 1.0, 2.0])
    least, most = objective.bounds(photo, erased)
    asked_least, asked_most = objective.bounds(photo)
    assert torch.equal(least, asked_least)
    torch.testing.assert_close(
        most, torch.stack([asked_most[0], torch.tensor(1.2), torch.tensor(1.9)])
    )
    rated = objective.rated(torch.tensor([0.0]).expand(3, 2, 1), photo, erased)
    torch.testing.assert_close(rated[:, 1, 0], torch.tensor([0.0, 1.2, 1.9]))
    assert SSR("auto").bounds(photo, erased)[1] is None


def test_auto_stops_paying_where_what_is_asked_is_reached():
    objective = Both("auto", keep_share=0.9, removed_share=0.2)
    photo = torch.logit(torch.tensor([0.8]))
    least, most = objective.bounds(photo)
    torch.testing.assert_close(least.sigmoid(), torch.tensor([0.72]))
    torch.testing.assert_close(most.sigmoid(), torch.tensor([0.16]))
    rated = objective.rated(torch.tensor([[[-9.0, 9.0], [-9.0, 9.0]]]), photo)
    expected = torch.tensor([[[-9.0, float(least)], [float(most), 9.0]]])
    torch.testing.assert_close(rated, expected)
    with pytest.raises(ValueError, match="found so far"):
        objective.loss(torch.zeros(2), torch.rand(1, 1, 2, 2), 0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sparsity": "automatic"}, "a number or auto"),
        ({"sparsity": "auto", "keep_share": None, "removed_share": None}, "keep_share or"),
        ({"keep_share": 1.0}, "keep_share must lie between 0 and 1"),
        ({"score": "probability"}, "log_odds, log_probability, clipped_log_odds"),
        ({"balance": 1.5}, "balance"),
    ],
)
def test_wrong_settings_of_objectives_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        Both(**{"sparsity": 0.1, **settings})
