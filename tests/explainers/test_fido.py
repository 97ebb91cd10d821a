"""The optimisation itself: known evidence, a slow oracle, independence of the batch."""

import dataclasses
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from planted import box_region, iou, planted_classifier, planted_sample

from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SDR, SSR
from fido.runtime.noise import ImageNoise


def explainer(objective, infiller=None, classifier=None, **settings):
    settings = {
        "steps": 120,
        "samples": 4,
        "mask": partial(ConcreteMask, grid=(10, 12)),
        **settings,
    }
    return Fido(
        classifier or planted_classifier(),
        infiller or MeanInfiller((0.2, 0.2, 0.2)),
        objective,
        **settings,
    )


@pytest.mark.parametrize("objective", [SSR, SDR])
def test_planted_evidence_is_found(objective):
    (explanation,) = explainer(objective(0.02, warmup_steps=10)).explain([planted_sample()])
    assert explanation.failure is None
    assert iou(explanation.region, box_region()) > 0.9
    score = explanation.history["score"]
    assert (score[-1] > score[0]) == (objective is SSR)


def test_sdr_map_is_the_drop_probability():
    (explanation,) = explainer(SDR(0.02)).explain([planted_sample()])
    torch.testing.assert_close(explanation.saliency, 1 - explanation.keep_prob)


def test_every_update_equals_a_plain_loop():
    """The module against fifteen lines of torch without Lightning, mask class or objective."""
    classifier, sample, steps = planted_classifier(), planted_sample(), 12
    objective = SSR(0.01, total_variation=0.02, warmup_steps=5)
    fast = explainer(objective, classifier=classifier, steps=steps, samples=3, seed=4)
    (explanation,) = fast.explain([sample])

    logits = torch.zeros(1, 1, 10, 12, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    noise = ImageNoise(4, [sample.id], "mask")
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        up = F.interpolate(logits.sigmoid(), (40, 48), mode="bilinear", align_corners=False)
        u = noise.uniform(3, 1, 40, 48)
        drop = torch.sigmoid((torch.logit(up) - torch.logit(u, eps=6e-8)) / 0.1)
        z = 1 - drop
        infill = torch.full((3, 3, 40, 48), 0.2)
        score = classifier(z * sample.image + (1 - z) * infill)
        log_odds = (score[:, 1] - score[:, 0]).mean()
        keep = 1 - up[0, 0]
        variation = keep.diff(dim=0).square().sum() + keep.diff(dim=1).square().sum()
        loss = -log_odds + min(step / 5, 1) * (0.01 * keep.sum() + 0.02 * variation)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(
        explanation.history["loss"], torch.tensor(losses), rtol=1e-4, atol=1e-4
    )
    final = F.interpolate(torch.sigmoid(-logits.detach()), (40, 48), mode="bilinear")[0]
    torch.testing.assert_close(explanation.saliency, final, rtol=1e-3, atol=1e-4)


def test_one_image_alone_or_among_four_gives_the_same_map():
    fido = explainer(SSR(0.02), RandomInfiller(), steps=25)
    others = [(4, 4, 12, 12), (30, 20, 44, 36), (0, 0, 10, 10)]
    batch = [planted_sample(), *(planted_sample(box=b, image_id=str(b)) for b in others)]
    (alone,) = fido.explain(batch[:1])
    together = fido.explain(batch)[0]
    reordered = fido.explain(batch[::-1])[-1]
    torch.testing.assert_close(together.saliency, alone.saliency, rtol=0, atol=1e-5)
    torch.testing.assert_close(reordered.saliency, alone.saliency, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        together.history["loss"], alone.history["loss"], rtol=1e-4, atol=1e-4
    )


def test_same_seed_same_map_other_seed_other_map():
    (first,) = explainer(SSR(0.02), steps=10).explain([planted_sample()])
    (again,) = explainer(SSR(0.02), steps=10).explain([planted_sample()])
    (other,) = explainer(SSR(0.02), steps=10, seed=1).explain([planted_sample()])
    assert torch.equal(first.saliency, again.saliency)
    assert not torch.equal(first.saliency, other.saliency)


def test_learning_rate_falls_linearly_to_zero():
    """With a gradient of constant sign, Adam's steps are the learning rates: they sum to a half."""
    fido = explainer(SSR(1000.0, warmup_steps=0), steps=40, mask=partial(ConcreteMask, grid=2))
    (explanation,) = fido.explain([planted_sample()])
    drop_logit = torch.logit(1 - explanation.keep_prob.flatten()[0])
    expected = 0.05 * sum(1 - step / 40 for step in range(40))
    assert drop_logit.item() == pytest.approx(expected, rel=0.02)


def test_a_non_finite_loss_marks_its_image_only():
    good, bad = planted_sample(), planted_sample(image_id="bad")
    bad.image.fill_(torch.nan)  # a sample refuses it
    fine, broken = explainer(SSR(0.02), steps=20).explain([good, bad])
    (alone,) = explainer(SSR(0.02), steps=20).explain([good])
    assert "not finite" in broken.failure
    assert fine.failure is None
    torch.testing.assert_close(fine.saliency, alone.saliency, rtol=0, atol=1e-5)


def test_classifier_is_left_as_it_was():
    classifier = planted_classifier()
    explainer(SSR(0.02), classifier=classifier, steps=2).explain([planted_sample()])
    assert not classifier.training
    assert all(not p.requires_grad for p in classifier.parameters())


def test_progress_hears_of_every_step():
    heard = []
    fido = explainer(SSR(0.02), steps=5, progress=lambda *news: heard.append(news))
    fido.explain([planted_sample()])
    assert [(done, total) for _, done, total, _ in heard] == [(i, 5) for i in range(1, 6)]
    assert set(heard[0][3]) == {"loss", "score", "area"}


def test_a_sample_without_target_is_refused():
    sample = dataclasses.replace(planted_sample(), target=None)
    with pytest.raises(ValueError, match=r"planted.*target"):
        explainer(SSR(0.02)).explain([sample])


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("samples", 0), ("learning_rate", 0)])
def test_wrong_numbers_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        explainer(SSR(0.02), **{name: value})
