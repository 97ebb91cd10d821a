"""Counterfactuals of squares, whose factors are known: the right one must change."""

from dataclasses import replace

import pytest
import torch
from counterfactuals import on_squares, squares, squares_denoiser
from torch import nn

from fido.classifiers.base import Classifier
from fido.classifiers.squares import RedOrGreen, squares_classifier
from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.denoisers.empirical import EmpiricalDenoiser
from fido.diffusion.regions.boxes import BoxRegion
from fido.diffusion.regions.everywhere import Everywhere
from fido.diffusion.schedule import noise_from_x0
from fido.explainers.ace import Ace
from fido.explainers.guided_diffusion import GuidedDiffusion
from fido.explainers.pgd import ProjectedGradient
from fido.records import Sample


class RandomNet(nn.Module):
    """Knows nothing of colours: a network of random weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(8 * 256, 2)
        )

    def forward(self, image):
        return 3 * self.net(image)


def plain(network):
    return Classifier(network, 16, (0,) * 3, (1,) * 3, class_names=["green", "red"])


# --- the right factor


def test_with_little_noise_and_no_guidance_nothing_changes():
    control = on_squares(start=0.85, budget=0)
    assert control.reached == 0
    assert control.unchanged >= 0.97  # a shade of the same side, in the others
    assert on_squares(start=0.95, budget=0).unchanged == 1


def test_guidance_reaches_the_class_by_changing_the_colour_alone():
    found = on_squares(start=0.85, steps=200, budget=0.8)
    assert found.reached >= 0.97
    assert found.only_colour >= 0.95
    for explanation in found.explanations:
        assert explanation.history["flipped"][-1] == 1
        assert explanation.history["p_target"][-1] > 0.5


def test_in_the_square_it_suffices_and_around_it_does_not():
    samples = squares()
    arms = {
        arm: on_squares(region=BoxRegion(arm), start=0.3, budget=0.8)
        for arm in ("inside", "outside", "random")
    }
    assert arms["inside"].reached >= 0.97
    assert arms["inside"].only_colour >= 0.98
    assert arms["outside"].only_colour <= 0.02
    assert arms["random"].reached <= 0.2
    for arm, found in arms.items():
        for sample, explanation in zip(samples, found.explanations, strict=True):
            outside = ~BoxRegion(arm).of(sample, 0).expand(3, -1, -1)
            photo = (sample.image * 255).round().to(torch.uint8)
            assert torch.equal(explanation.counterfactual[outside], photo[outside])


def test_a_network_that_knows_nothing_does_no_better_than_the_control():
    net = plain(RandomNet())
    predicted = net(torch.stack([sample.image for sample in squares()])).argmax(1).tolist()
    # Only those whose target is another class for this network, too.
    samples = [s for s, p in zip(squares(), predicted, strict=True) if p != s.target]
    assert len(samples) > 30
    control = on_squares(samples, start=0.3, budget=0)
    blind = on_squares(samples, classifier=net, start=0.3, budget=0.8)
    assert abs(blind.reached - control.reached) <= 0.1


def test_the_gate_changes_less_at_the_same_validity():
    for start in (0.58, 0.85):
        free = on_squares(start=start, budget=0.8, confidence=None)
        gated = on_squares(start=start, budget=0.8, confidence=0.9)
        assert gated.reached >= free.reached - 0.011
        assert gated.change <= 0.95 * free.change


# --- the budget


@pytest.mark.parametrize("steps", [25, 50, 200])
@pytest.mark.parametrize("start", [0.3, 0.58, 0.75, 0.85])
def test_a_budget_transfers_over_start_and_steps(start, steps):
    found = on_squares(
        squares(5 if start == 0.3 else 10), start=start, steps=steps, budget=0.8, confidence=None
    )
    assert found.reached >= 0.97


def test_the_published_scale_does_not_transfer():
    """0.1 belongs to the published start; with less noise it hardly pushes."""
    found = on_squares(squares(10), start=0.58, steps=200, scale=0.1, confidence=None)
    assert found.reached <= 0.3


def test_of_several_budgets_each_image_takes_the_first_that_flips_it():
    weak = on_squares(start=0.58, budget=0.3)
    ladder = on_squares(start=0.58, budget=[0.3, 1.0])
    strong = on_squares(start=0.58, budget=1.0)
    assert weak.reached < 0.9 < ladder.reached
    flips = 0
    for first, both, second in zip(
        weak.explanations, ladder.explanations, strong.explanations, strict=True
    ):
        expected = first if first.history["flipped"][-1] else second
        assert torch.equal(both.counterfactual, expected.counterfactual)
        flips += int(first.history["flipped"][-1])
        assert (both.cost["denoise"] > first.cost["denoise"]) == (not first.history["flipped"][-1])
    assert 0 < flips < len(squares())


# --- what is returned


def test_what_is_said_is_said_of_the_rounded_image():
    found = on_squares(squares(20), start=0.58, budget=0.8)
    for sample, explanation in zip(squares(20), found.explanations, strict=True):
        image = explanation.counterfactual
        assert image.dtype == torch.uint8
        probability = squares_classifier().probabilities(image[None].float() / 255)[0]
        assert explanation.history["p_target"][-1] == probability[sample.target]
        assert explanation.history["flipped"][-1] == (probability.argmax() == sample.target)
        change = (image.float() - (sample.image * 255).round()).abs() / 255
        torch.testing.assert_close(explanation.saliency, change.mean(0, keepdim=True))
        assert explanation.history["distance"][-1] == pytest.approx(float(change.mean()), abs=1e-6)


def test_an_image_belongs_to_itself_whatever_its_batch():
    samples = squares()[::12]
    whole = on_squares(samples, start=0.3, budget=0.8, variable="x_t").explanations
    alone = on_squares(samples, start=0.3, budget=0.8, variable="x_t", rows_per_pass=1).explanations
    turned = on_squares(samples[::-1], start=0.3, budget=0.8, variable="x_t").explanations[::-1]
    for other in (alone, turned):
        for a, b in zip(whole, other, strict=True):
            assert a.id == b.id
            assert (a.counterfactual.int() - b.counterfactual.int()).abs().max() <= 1


def test_images_on_the_way_are_kept():
    (explanation,) = on_squares(squares()[:1], start=0.3, budget=0.8, estimates=4).explanations
    assert explanation.estimates.shape == (4, 3, 16, 16)
    assert torch.equal(explanation.estimates[-1], explanation.counterfactual)


def test_an_image_of_the_target_class_has_no_counterfactual_and_the_others_do():
    samples = list(squares()[:4])
    samples[1] = replace(samples[1], target=samples[1].label)
    explanations = on_squares_plain(samples)
    assert "another class" in explanations[1].failure
    assert [e.failure for e in explanations if e is not explanations[1]] == [None] * 3
    assert [e.id for e in explanations] == [s.id for s in samples]


def test_an_image_without_a_region_has_none_and_the_others_do():
    samples = list(squares()[:3])
    samples[2] = replace(samples[2], boxes=None)
    explanations = on_squares_plain(samples, BoxRegion())
    assert "no boxes" in explanations[2].failure
    assert explanations[0].failure is None


def test_only_images_without_one():
    samples = [replace(sample, target=sample.label) for sample in squares()[:2]]
    assert all(explanation.failure for explanation in on_squares_plain(samples))


def on_squares_plain(samples, region=None):
    explainer = GuidedDiffusion(
        squares_classifier(), squares_denoiser(), region or Everywhere(), budget=0.5
    )
    return explainer.explain(samples)


def test_an_image_that_does_not_flip_is_kept():
    found = on_squares(squares()[:4], region=BoxRegion("outside"), start=0.85, budget=0.01)
    for explanation in found.explanations:
        assert explanation.failure is None
        assert explanation.counterfactual is not None
        assert explanation.history["flipped"][-1] == 0


@pytest.mark.parametrize(
    "settings", [{}, {"budget": 0.5, "scale": 1}, {"budget": [0.5, 0.2]}, {"budget": -1}]
)
def test_strengths_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValueError, match=r"explainer\.(budget|scale)"):
        on_squares(squares()[:1], **settings)


# --- at another size than the classifier's


class Unchanging(Denoiser):
    """Sees the photo in whatever noise, at half the classifier's size."""

    def __init__(self, image):
        super().__init__((8, 8))
        self.photo = self.encode(self.shrink(image))

    def noise(self, x_t, alpha_bar, classes=None):
        return noise_from_x0(x_t, alpha_bar, self.photo + 0 * x_t)


def test_no_change_at_a_smaller_size_is_the_photo_bit_for_bit():
    image = (torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).round() / 255
    source = int(squares_classifier()(image[None]).argmax())
    sample = Sample("photo", image, target=1 - source)
    explainer = GuidedDiffusion(
        squares_classifier(), Unchanging(image[None]), Everywhere(), budget=0.8
    )
    (explanation,) = explainer.explain([sample])
    assert torch.equal(explanation.counterfactual, (image * 255).round().to(torch.uint8))
    assert explanation.saliency.max() == 0
    assert not explanation.region.any()


# --- the other methods


def test_ace_reaches_the_class_and_keeps_most_of_the_photo():
    samples = squares(10)
    explainer = Ace(
        squares_classifier(), squares_denoiser(), Everywhere(), 0.58, 50, dilation=3, step=8
    )
    explanations = explainer.explain(samples)
    assert sum(float(e.history["flipped"][-1]) for e in explanations) >= 0.6 * len(samples)
    kept = torch.stack([e.saliency == 0 for e in explanations]).float().mean()
    assert kept > 0.5


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_an_attack_stays_in_its_ball_and_its_region(norm):
    samples = squares(20)
    explainer = ProjectedGradient(
        squares_classifier(), BoxRegion(), norm, epsilon=0.1, confidence=None
    )
    for sample, explanation in zip(samples, explainer.explain(samples), strict=True):
        change = (explanation.counterfactual.float() - (sample.image * 255).round()) / 255
        size = change.abs().max() if norm == "linf" else change.square().mean().sqrt()
        assert 0.02 < size <= 0.1 + 1 / 255
        outside = ~BoxRegion().of(sample).expand(3, -1, -1)
        assert change[outside].abs().max() == 0
        assert explanation.history["p_target"][-1] > explanation.history["p_target"][0]


def test_an_attack_needs_no_more_than_the_confidence():
    samples = squares(20)
    far = ProjectedGradient(squares_classifier(), Everywhere(), epsilon=0.2, confidence=None)
    near = ProjectedGradient(squares_classifier(), Everywhere(), epsilon=0.2, confidence=0.9)
    for a, b in zip(far.explain(samples), near.explain(samples), strict=True):
        assert b.history["flipped"][-1] == 1
        assert b.saliency.mean() < a.saliency.mean()


@pytest.mark.parametrize(
    ("method", "settings", "words"),
    [
        (ProjectedGradient, {"norm": "l1"}, "l2 or linf"),
        (ProjectedGradient, {"epsilon": 0}, "epsilon"),
        (Ace, {"through": "air"}, "through"),
        (Ace, {"dilation": 2}, "odd"),
    ],
)
def test_bad_settings_are_refused(method, settings, words):
    needs = [squares_classifier()]
    if method is Ace:
        needs.append(squares_denoiser())
    with pytest.raises(ValueError, match=words):
        method(*needs, Everywhere(), **settings)


# --- what goes wrong


class Cliff(RedOrGreen):
    """Its gradient is not a number for images whose first pixel is nearly black."""

    def forward(self, image):
        logits = super().forward(image)
        edge = image[:, :, 0, 0].sum(1, keepdim=True)
        dark = (edge[:, 0] < 0.05).nonzero()[:, 0]
        # Selected, not masked: the gradient of a mask would be 0 times infinity everywhere.
        return logits.index_add(0, dark, (edge[dark] - edge[dark].detach()).sqrt().expand(-1, 2))


def test_an_attack_marks_images_without_a_finite_gradient_and_goes_on():
    samples = list(squares()[:4])
    image = samples[1].image.clone()
    image[:, 0, 0] = 0
    samples[1] = replace(samples[1], image=image)
    classifier = Classifier(Cliff(), 16, mean=(0.0,) * 3, std=(1.0,) * 3, crop_fraction=1.0)
    results = ProjectedGradient(classifier, Everywhere(), epsilon=0.2).explain(samples)
    assert [r.failure is None for r in results] == [True, False, True, True]
    assert "not finite" in results[1].failure


@pytest.mark.parametrize("size", [8, 40])
def test_a_denoiser_of_another_size_serves(size):
    """No guidance gives the photo bit for bit where the change is paired, smaller or larger."""
    images = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    explainer = GuidedDiffusion(
        squares_classifier(), EmpiricalDenoiser(images), Everywhere(), budget=0, paired=True
    )
    samples = squares()[:2]
    for sample, result in zip(samples, explainer.explain(samples), strict=True):
        assert (result.counterfactual / 255 - sample.image).abs().max() <= 1 / 255
