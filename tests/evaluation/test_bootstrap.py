"""Bootstrap intervals: coverage, determinism, pairing."""

import math

import numpy as np
import pytest

from fido.evaluation.bootstrap import Bootstrap


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    bootstrap = Bootstrap(resamples=500)
    inside = 0
    for _ in range(300):
        estimate = bootstrap.mean(generator.exponential(1.0, 60))
        inside += estimate.low <= 1.0 <= estimate.high
    assert 0.90 <= inside / 300 <= 0.98


def test_interval_is_near_the_normal_one_for_many_numbers():
    values = np.random.default_rng(1).normal(5, 2, 4000)
    estimate = Bootstrap().mean(values)
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.high - estimate.mean == pytest.approx(half, rel=0.1)
    assert estimate.mean - estimate.low == pytest.approx(half, rel=0.1)


def test_undefined_numbers_are_left_out_and_few_numbers_have_no_interval():
    bootstrap = Bootstrap()
    estimate = bootstrap.mean(np.array([1.0, math.nan, 3.0]))
    assert (estimate.n, estimate.mean) == (2, 2.0)
    assert estimate.low >= 1
    one = bootstrap.mean(np.array([1.0, math.nan]))
    assert (one.n, one.mean) == (1, 1.0)
    assert math.isnan(one.low)
    none = bootstrap.mean(np.array([]))
    assert none.n == 0
    assert math.isnan(none.mean)
    constant = bootstrap.mean(np.array([2.0, 2.0]))
    assert (constant.low, constant.high) == (2.0, 2.0)


def test_paired_differences_use_common_images_only_and_are_narrower():
    generator = np.random.default_rng(2)
    base = generator.normal(0, 10, 80)
    a, b = base + 1 + generator.normal(0, 0.1, 80), base
    b[[3, 7]] = math.nan
    difference = Bootstrap().difference(a, b)
    assert difference.n == 78
    assert difference.mean == pytest.approx(1, abs=0.05)
    assert 0.9 < difference.low < difference.high < 1.1
    alone = Bootstrap().mean(a)
    assert alone.high - alone.low > 20 * (difference.high - difference.low)


def test_an_interval_is_that_of_a_loop_over_resamples():
    values = np.random.default_rng(3).normal(size=37)
    generator = np.random.default_rng([5, 37])
    means = [values[generator.integers(37, size=37)].mean() for _ in range(300)]
    estimate = Bootstrap(resamples=300, level=0.9, seed=5).mean(values)
    assert (estimate.low, estimate.high) == pytest.approx(np.quantile(means, [0.05, 0.95]))


def test_a_column_has_the_same_interval_whatever_the_others():
    generator = np.random.default_rng(4)
    columns = [generator.normal(size=n) for n in (50, 1, 60, 0) for _ in range(70)]
    columns[3][:10] = math.nan  # 40 numbers
    together = Bootstrap(resamples=100).means(columns)
    assert [e.n for e in together[:5]] == [50, 50, 50, 40, 50]
    for column, estimate in zip(columns, together, strict=True):
        alone = Bootstrap(resamples=100).mean(column)
        assert (alone.low, alone.high) == pytest.approx(
            (estimate.low, estimate.high), abs=0, nan_ok=True
        )
    assert Bootstrap(seed=1).mean(columns[0]) != Bootstrap().mean(columns[0])


def test_settings_are_checked():
    with pytest.raises(ValueError, match="resamples"):
        Bootstrap(resamples=0)
    with pytest.raises(ValueError, match="level"):
        Bootstrap(level=95)
