"""The sampling loop on squares, whose denoiser is exact."""

import math
from dataclasses import replace

import pytest
import torch
from counterfactuals import squares, squares_denoiser

from fido.classifiers.base import Classifier
from fido.classifiers.squares import RedOrGreen, squares_classifier
from fido.data.squares import Squares
from fido.diffusion.denoisers.empirical import EmpiricalDenoiser, empirical_denoiser
from fido.diffusion.frame import Frame, Problem
from fido.diffusion.guidance_settings import Guidance
from fido.diffusion.guides import ConeGuide, ConsensusGuide, SmoothingGuide
from fido.diffusion.sampler import GuidedSampler
from fido.diffusion.sampling_state import SamplingState
from fido.diffusion.schedule import (
    cumulative_alphas,
    guidance_budget,
    linear_betas,
    respaced_steps,
    scale_of_budget,
)
from fido.diffusion.self_masks import ChangedPixels, StrongestGradient
from fido.diffusion.trajectory import Steps
from fido.runtime.noise import ImageNoise


def problem(n=6, region=None, seed=3):
    samples = squares()[:: 96 // n][:n]
    image = torch.stack([sample.image for sample in samples])
    target = torch.tensor([sample.target for sample in samples])
    if region is None:
        region = torch.ones(n, 1, 16, 16, dtype=torch.bool)
    ids = [sample.id for sample in samples]
    return Problem(ids, image, target, 1 - target, region, seed)


def sampler(start=0.3, count=25, classifier=None, **guidance):
    guidance = Guidance(**{"variable": "x0", **guidance})
    steps = Steps(count, start)
    return GuidedSampler(classifier or squares_classifier(), squares_denoiser(), steps, guidance)


def scale(which, budget=0.8):
    return scale_of_budget(which.steps.alpha_bars, which.steps.start, budget)


# --- without guidance


def test_without_guidance_it_is_the_textbook_process():
    """Ho et al. 2020, algorithm 2, written out for the respaced schedule."""
    whole, control = problem(2), sampler()
    numbers = respaced_steps(1000, 25).tolist()
    bars = [float(cumulative_alphas(linear_betas())[number]) for number in numbers]
    start = min(range(25), key=lambda i: abs(bars[i] - 0.3))

    def noise(purpose):
        return ImageNoise(3, whole.ids, purpose).normal(1, 3, 16, 16)

    x = math.sqrt(bars[start]) * (2 * whole.image - 1)
    x = x + math.sqrt(1 - bars[start]) * noise("diffusion start")
    for i in range(start, -1, -1):
        before = bars[i - 1] if i else 1.0
        beta = 1 - bars[i] / before
        estimated = squares_denoiser().noise(x, bars[i])
        mean = (x - beta / math.sqrt(1 - bars[i]) * estimated) / math.sqrt(1 - beta)
        sigma = math.sqrt(beta * (1 - before) / (1 - bars[i]))
        x = mean + sigma * noise(f"diffusion step {numbers[i]}")
    expected = (x / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(control.sample(whole, 0.0).image, expected, atol=1e-4, rtol=0)


def test_a_step_is_that_of_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(clip_sample=False, timestep_spacing="linspace")
    scheduler.set_timesteps(25)
    steps, generator = Steps(25, 0.08), torch.Generator().manual_seed(0)
    x, estimated = torch.randn(2, 1, 3, 8, 8, generator=generator).double()
    for index in (1, 5, 12):
        number = int(steps.numbers[index])
        theirs = scheduler.step(
            estimated, number, x, generator=torch.Generator().manual_seed(index)
        ).prev_sample
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(index), dtype=x.dtype)
        bar = steps.alpha_bar(index)
        x0 = (x - math.sqrt(1 - bar) * estimated) / math.sqrt(bar)
        mine = steps.posterior.step(index, x0, x, noise)
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def test_no_guidance_asks_for_no_gradient():
    found = sampler().sample(problem(2), 0.0)
    assert found.cost["backward"] == found.cost["denoise_backward"] == 0
    assert found.history["push"].abs().max() == 0


# --- beside the unguided process


def test_paired_and_unguided_it_is_the_photo_however_noisy_the_start():
    """The exact denoiser turns half of these squares into others: that is left out."""
    whole = problem()
    assert (sampler(0.08).sample(whole, 0.0).image - whole.image).abs().mean() > 0.02
    result = sampler(0.08, paired=True).sample(whole, 0.0)
    torch.testing.assert_close(result.image, whole.image, atol=1e-5, rtol=0)
    assert result.history["distance"].max() < 1e-5


def test_the_paired_change_is_that_of_the_guidance():
    """Guided minus unguided of two runs that know nothing of each other."""
    whole = problem()
    # This classifier's gradient is the same everywhere, so that both runs push in the same way.
    plain, paired = (sampler(0.3, confidence=None, paired=paired) for paired in (False, True))
    guided = plain.sample(whole, 3.0).image
    control = plain.sample(whole, 0.0).image
    expected = (whole.image + guided - control).clamp(0, 1)
    inside = (guided > 0) & (guided < 1) & (control > 0) & (control < 1)
    found = paired.sample(whole, 3.0).image
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-4, rtol=0)
    assert (found - whole.image).abs().mean() > 0.01


def test_paired_the_class_is_reached_with_a_smaller_change():
    whole = problem()
    results = [sampler(0.3, paired=paired).sample(whole, 3.0) for paired in (False, True)]
    truth = [squares_classifier().probabilities(r.image).argmax(1) == whole.target for r in results]
    assert truth[1].all()
    plain, paired = (result.history["distance"][:, -1].mean() for result in results)
    assert paired < plain


def test_a_smoothed_change_is_the_change_convolved():
    whole = problem()
    frame = Frame(whole, squares_denoiser())  # of 16 pixels
    state = SamplingState(frame, 1.0, [None] * len(whole), smooth=1 / 16)
    point = state.frame.photo.clone()
    point[:, :, 8, 8] += 1.0
    change = state.shown(point) - state.frame.photo
    torch.testing.assert_close(change.sum((2, 3)), torch.ones(len(whole), 3))
    ratio = change[:, :, 8, 9] / change[:, :, 8, 8]
    torch.testing.assert_close(ratio, torch.full_like(ratio, math.exp(-0.5)))
    assert torch.equal(state.shown(state.frame.photo), state.frame.photo)


def test_the_class_weight_follows_the_denoiser_until_the_confidence_is_reached():
    """Without a classifier's push the denoiser's own idea of the class makes it: here exactly."""
    whole = problem()
    known = empirical_denoiser(Squares(size=(16, 16), crop_fraction=1.0))
    images = (known.images / 2 + 0.5).float()
    labels = squares_classifier().probabilities(images).argmax(1)
    denoiser = EmpiricalDenoiser(images, labels)
    steps = Steps(25, 0.3)
    reached = []
    for weight, confidence in ((0.0, None), (1.0, None), (1.0, 0.01)):
        guidance = Guidance("x0", class_weight=weight, confidence=confidence)
        control = GuidedSampler(squares_classifier(), denoiser, steps, guidance)
        reached.append(float(control.sample(whole, 0.0).history["flipped"][:, -1].mean()))
    assert reached[0] < 0.5
    assert reached[1] == 1.0


# --- the noise


def test_methods_targets_and_gates_see_the_same_noise():
    whole = problem(2)
    other = replace(whole, target=whole.source, source=whole.target)
    same = [each.noise("diffusion step 41", 3, 4, 4) for each in (whole, other)]
    assert torch.equal(*same)
    assert not torch.equal(same[0][0], same[0][1])  # every image has its own
    assert not torch.equal(same[0], whole.noise("diffusion step 83", 3, 4, 4))
    assert not torch.equal(same[0], problem(2, seed=4).noise("diffusion step 41", 3, 4, 4))


def test_images_do_not_influence_each_other():
    whole, guided = problem(6), sampler(copies=2, distance=0.2)
    together = guided.sample(whole, scale(guided))
    for i in (0, 4):
        alone = guided.sample(whole.part([i]), scale(guided))
        assert (255 * (alone.image[0] - together.image[i]).abs()).max() <= 1
        torch.testing.assert_close(
            alone.history["push"][0], together.history["push"][i], atol=1e-4, rtol=1e-3
        )


# --- pushing


@pytest.mark.parametrize("variable", ["x_t", "x0", "chain"])
def test_guidance_reaches_the_class_that_the_control_does_not(variable):
    whole, guided = problem(12), sampler(0.58, variable=variable)
    before = guided.sample(whole, 0.0).history["flipped"][:, -1].mean()
    after = guided.sample(whole, scale(guided)).history["flipped"][:, -1].mean()
    assert before <= 0.2
    assert after >= 0.9


def test_the_applied_push_is_at_most_the_budget():
    guided = sampler(0.58, confidence=None)
    push = guided.sample(problem(6), scale(guided, 0.5)).history["push"].sum(1)
    # The estimated noise has a root mean square of about 1.
    assert push.max() < 0.5 * 1.3
    assert push.min() > 0.5 * 0.7
    steps = guided.steps
    assert guidance_budget(steps.alpha_bars, steps.start, scale(guided, 0.5)) == pytest.approx(0.5)


def test_the_gate_stops_pushing_and_changes_less():
    whole = problem(12)
    open_, gated = sampler(0.58, confidence=None), sampler(0.58, confidence=0.9)
    freely, stopped = (each.sample(whole, scale(each)) for each in (open_, gated))
    reached = stopped.history["p_target"] >= 0.9
    assert reached.any()
    assert stopped.history["push"][reached].abs().max() == 0
    assert stopped.history["distance"][:, -1].mean() < freely.history["distance"][:, -1].mean()
    # Until the gate closes the two are the same.
    assert torch.equal(stopped.history["push"][:, 0], freely.history["push"][:, 0])


@pytest.mark.parametrize("norm", ["epsilon", "mu", "first", "none"])
def test_every_norm_pushes(norm):
    guided = sampler(0.58, norm=norm, confidence=None)
    push = guided.sample(problem(3), scale(guided)).history["push"]
    assert push.isfinite().all()
    assert push[:, 0].min() > 0


def test_the_distance_keeps_the_image_nearer():
    whole = problem(12)
    near = sampler(0.3, distance=1.0, confidence=None)
    through = sampler(0.3, distance=1.0, variable="x_t", distance_through_denoiser=True)
    far = sampler(0.3, confidence=None)
    strong = scale(far, 0.4)
    distances = [
        each.sample(whole, strong).history["distance"][:, -1].mean() for each in (near, far)
    ]
    assert distances[0] < distances[1]
    assert through.sample(whole, strong).failure == [None] * 12


class NoGradient(RedOrGreen):
    """Adds a square root at 0, which has no gradient there, where an image has no blue at all."""

    def forward(self, image):
        red = image[:, 0].sum((1, 2))
        none = torch.where(image[:, 2].sum((1, 2)) > 0, torch.ones_like(red), red - red.detach())
        return super().forward(image) + none.sqrt().unsqueeze(1) * torch.tensor([0.0, 1.0])


def test_a_gradient_that_is_not_finite_fails_its_image_alone():
    whole = problem(3)
    whole.image[1, 2] = 0
    net = Classifier(NoGradient(), 16, (0,) * 3, (1,) * 3, class_names=["green", "red"])
    # A denoiser that knows the three photos and nothing else keeps the blue away.
    guided = sampler(0.9, classifier=net)
    guided.denoiser = type(squares_denoiser())(whole.image)
    found = guided.sample(whole, scale(guided))
    assert found.failure[0] is found.failure[2] is None
    assert "not finite" in found.failure[1]
    assert found.image.isfinite().all()
    assert found.history["push"][1].abs().max() == 0
    alone = guided.sample(whole.part([0]), scale(guided))
    torch.testing.assert_close(found.image[0], alone.image[0])


# --- where


@pytest.mark.parametrize("mask", [None, StrongestGradient(0.05), ChangedPixels(warmup=0.2)])
def test_outside_of_the_region_the_photo_stays_bit_for_bit(mask):
    region = torch.zeros(6, 1, 16, 16, dtype=torch.bool)
    region[:, :, 4:12, 2:9] = True
    whole, guided = problem(6, region), sampler(mask=mask)
    found = guided.sample(whole, scale(guided))
    outside = ~region.expand(-1, 3, -1, -1)
    assert torch.equal(found.image[outside], whole.image[outside])
    assert not torch.equal(found.image, whole.image)


def test_masks_change_a_smaller_part():
    whole = problem(12)
    shares = []
    for mask in (None, StrongestGradient(0.05, 1)):
        guided = sampler(0.3, mask=mask)
        found = guided.sample(whole, scale(guided))
        shares.append(float(((found.image - whole.image).abs() > 0.02).float().mean()))
    assert shares[1] < 0.5 * shares[0]


def test_masks_of_no_change_are_empty():
    photo = torch.rand(2, 3, 8, 8)
    last = torch.ones(2, 1, 8, 8)
    assert ChangedPixels(warmup=0.5).of(photo, photo, photo, last, 0.5).sum() == 0
    assert torch.equal(ChangedPixels(warmup=0.5).of(photo, photo, photo, last, 0.4), last)
    assert torch.equal(StrongestGradient().of(photo, photo, 0 * photo, last, 0.5), last)


# --- guides


def test_a_cone_turns_the_push_by_its_angle_at_most():
    guide = ConeGuide(squares_classifier(), 30)
    whole, guided = problem(6), sampler(0.58, guide=guide, variable="x_t")
    found = guided.sample(whole, scale(guided))
    assert found.history["angle"].max() < 1e-2  # the guide is the explained network itself
    assert found.history["flipped"][:, -1].mean() >= 0.8


def test_smoothing_guides_without_another_network():
    whole, guided = problem(6), sampler(0.58, guide=SmoothingGuide(2, 0.9), variable="x_t")
    found = guided.sample(whole, scale(guided))
    assert found.failure == [None] * 6
    assert found.history["angle"].isfinite().all()


def test_consensus_refuses_classes_that_the_denoiser_does_not_know():
    whole, guided = problem(3), sampler(guide=ConsensusGuide())
    assert guided.denoiser.knows(whole.target).all()
    assert guided.sample(whole, scale(guided)).failure == [None] * 3
    unknown = replace(whole, source=torch.tensor([0, 1, 0]))
    guided.denoiser = type(squares_denoiser())(whole.image)  # no labels
    reasons = guided.sample(unknown, scale(guided)).failure
    assert all("does not know class" in reason for reason in reasons)


# --- bad settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"variable": "y"}, "variable"),
        ({"norm": "l7"}, "norm"),
        ({"confidence": 1.5}, "confidence"),
        ({"copies": 0}, "copies"),
        ({"distance": -1}, "distance"),
        ({"distance_through_denoiser": True}, "x_t"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        sampler(**settings)


def test_a_start_without_steps_is_refused():
    with pytest.raises(ValueError, match="smaller start"):
        Steps(25, 0.9999)


def test_a_start_noisier_than_the_denoiser_knows_is_refused():
    guided = sampler()
    guided.denoiser.lowest_alpha_bar = 0.2
    try:
        with pytest.raises(ValueError, match=r"give 0\.2 or more"):
            GuidedSampler(guided.classifier, guided.denoiser, Steps(25, 0.1), guided.guidance)
    finally:
        guided.denoiser.lowest_alpha_bar = 0.0
