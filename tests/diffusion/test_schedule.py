import math

import pytest
import torch
from scipy.stats import multivariate_normal

from fido.diffusion.schedule import (
    add_noise,
    cumulative_alphas,
    guidance_budget,
    linear_betas,
    noise_from_x0,
    posterior,
    respaced_steps,
    scale_of_budget,
    start_index,
    x0_from_noise,
)

ALPHA_BARS = cumulative_alphas(linear_betas())


def respaced(count):
    return ALPHA_BARS[respaced_steps(1000, count)]


def test_the_published_start_has_the_published_noise():
    assert float(ALPHA_BARS[497]) == pytest.approx(0.0802, abs=1e-4)
    assert math.sqrt(float(ALPHA_BARS[497])) == pytest.approx(0.283, abs=1e-3)
    assert start_index(ALPHA_BARS, 0.0802) == 497


def test_alphas_multiply_up_and_fall():
    betas = linear_betas(5, 0.1, 0.5)
    product = 1.0
    for beta, alpha_bar in zip(betas.tolist(), cumulative_alphas(betas).tolist(), strict=True):
        product *= 1 - beta
        assert alpha_bar == pytest.approx(product, rel=1e-12)
    assert (ALPHA_BARS.diff() < 0).all()


def test_respacing_keeps_both_ends_and_rises_evenly():
    steps = respaced_steps(1000, 25)
    assert (steps[0], steps[-1], len(steps)) == (0, 999, 25)
    gaps = steps.diff()
    assert set(gaps.tolist()) == {41, 42}
    assert torch.equal(respaced_steps(7, 7), torch.arange(7))


def test_noise_and_image_are_found_again():
    x0, noise = torch.rand(3, 3, 4, 4) * 2 - 1, torch.randn(3, 3, 4, 4)
    for alpha_bar in (0.3, torch.tensor([0.9, 0.5, 0.1])):
        x_t = add_noise(x0, alpha_bar, noise)
        torch.testing.assert_close(x0_from_noise(x_t, alpha_bar, noise), x0, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(noise_from_x0(x_t, alpha_bar, x0), noise, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("index", [1, 7, 24])
def test_the_posterior_is_what_bayes_rule_says(index):
    """x_{i-1} and x_i given x_0 are jointly normal; condition one on the other."""
    alpha_bars = respaced(25)
    now, before = float(alpha_bars[index]), float(alpha_bars[index - 1])
    alpha = now / before
    covariance = math.sqrt(alpha) * (1 - before)
    x0, x = 0.4, -0.7
    mean = math.sqrt(before) * x0 + covariance / (1 - now) * (x - math.sqrt(now) * x0)
    variance = (1 - before) - covariance**2 / (1 - now)
    found = posterior(alpha_bars)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    assert float(found.mean(index, x0 * one, x * one)) == pytest.approx(mean, rel=1e-9)
    assert float(found.variance[index]) == pytest.approx(variance, rel=1e-9)
    # The ratio of joint to marginal density agrees with it, too.
    joint = [[1 - before, covariance], [covariance, 1 - now]]
    means = [math.sqrt(before) * x0, math.sqrt(now) * x0]
    ratio = multivariate_normal(means, joint).logpdf([0.1, x])
    ratio -= multivariate_normal(means[1], joint[1][1]).logpdf(x)
    assert ratio == pytest.approx(multivariate_normal(mean, variance).logpdf(0.1), rel=1e-6)


def test_the_last_step_back_is_the_image():
    found = posterior(respaced(25))
    x0, x = torch.randn(2, 1, 3, 5, 5)
    torch.testing.assert_close(found.step(0, x0, x, torch.randn_like(x)), x0)


@pytest.mark.parametrize("index", [1, 300, 999])
def test_a_step_without_guidance_is_that_of_diffusers(index, monkeypatch):
    scheduling = pytest.importorskip("diffusers.schedulers.scheduling_ddpm")
    scheduler = scheduling.DDPMScheduler(
        beta_start=1e-4, beta_end=0.02, beta_schedule="linear", clip_sample=False
    )
    # Its own table is in float32, where one minus nearly one has three digits at the first steps.
    scheduler.alphas_cumprod = ALPHA_BARS
    generator = torch.Generator().manual_seed(0)
    x, epsilon, noise = torch.randn(3, 2, 3, 8, 8, generator=generator)
    monkeypatch.setattr(scheduling, "randn_tensor", lambda *args, **kwargs: noise)
    theirs = scheduler.step(epsilon, index, x).prev_sample
    x0 = x0_from_noise(x, float(ALPHA_BARS[index]), epsilon)
    ours = posterior(ALPHA_BARS).step(index, x0, x, noise)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_the_budget_is_the_sum_of_pushes():
    alpha_bars = respaced(200)
    start = start_index(alpha_bars, 0.30)
    total = 0.0
    for i in range(1, start + 1):
        now, before = float(alpha_bars[i]), float(alpha_bars[i - 1])
        total += (1 - before) / (1 - now) * (1 - now / before) * 0.1 / math.sqrt(before)
    assert guidance_budget(alpha_bars, start, 0.1) == pytest.approx(total, rel=1e-9)
    scale = scale_of_budget(alpha_bars, start, 0.8)
    assert guidance_budget(alpha_bars, start, scale) == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("alpha_bar", "budget"),
    [(0.080, 0.483), (0.25, 0.188), (0.30, 0.155), (0.58, 0.056), (0.74, 0.028), (0.85, 0.016)],
)
def test_budgets_of_the_published_scale(alpha_bar, budget):
    alpha_bars = respaced(200)
    start = start_index(alpha_bars, alpha_bar)
    assert guidance_budget(alpha_bars, start, 0.1) == pytest.approx(budget, abs=0.008)


def test_bad_numbers_are_refused_in_words():
    with pytest.raises(ValueError, match="steps >= 1"):
        linear_betas(0)
    with pytest.raises(ValueError, match="first <= last"):
        linear_betas(10, 0.5, 0.1)
    for count in (1, 1001):
        with pytest.raises(ValueError, match=r"must be in 2\.\.1000"):
            respaced_steps(1000, count)
    for alpha_bar in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
            start_index(ALPHA_BARS, alpha_bar)
    with pytest.raises(ValueError, match="cannot push"):
        scale_of_budget(ALPHA_BARS, 0, 0.8)
