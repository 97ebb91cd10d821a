"""Bootstrap intervals: coverage, determinism, pairing."""

import math

import numpy as np
import pytest

from fido.evaluation import bootstrap
from fido.evaluation.bootstrap import Bootstrap


def named(values):
    return {f"{i:05d}": float(v) for i, v in enumerate(values)}


def test_interval_covers_the_true_mean_about_as_often_as_it_says():
    generator = np.random.default_rng(0)
    bootstrap = Bootstrap(resamples=500)
    inside = 0
    for _ in range(300):
        estimate = bootstrap.mean(named(generator.exponential(1.0, 60)))
        inside += estimate.low <= 1.0 <= estimate.high
    assert 0.90 <= inside / 300 <= 0.98


def test_interval_is_near_the_normal_one_for_many_numbers():
    values = np.random.default_rng(1).normal(5, 2, 4000)
    estimate = Bootstrap().mean(named(values))
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.high - estimate.mean == pytest.approx(half, rel=0.1)
    assert estimate.mean - estimate.low == pytest.approx(half, rel=0.1)


def test_undefined_numbers_are_left_out_and_few_numbers_have_no_interval():
    bootstrap = Bootstrap()
    estimate = bootstrap.mean({"a": 1.0, "b": math.nan, "c": 3.0})
    assert (estimate.n, estimate.mean) == (2, 2.0)
    assert estimate.low >= 1
    one = bootstrap.mean({"a": 1.0, "b": math.nan})
    assert (one.n, one.mean) == (1, 1.0)
    assert math.isnan(one.low)
    none = bootstrap.mean({})
    assert none.n == 0
    assert math.isnan(none.mean)
    constant = bootstrap.mean({"a": 2.0, "b": 2.0})
    assert (constant.low, constant.high) == (2.0, 2.0)


def test_paired_differences_use_common_images_only_and_are_narrower():
    generator = np.random.default_rng(2)
    base = generator.normal(0, 10, 80)
    a, b = named(base + 1 + generator.normal(0, 0.1, 80)), named(base)
    del b["00003"]
    b["00007"] = math.nan
    b["only here"] = 5.0
    difference = Bootstrap().difference(a, b)
    assert difference.n == 78
    assert difference.mean == pytest.approx(1, abs=0.05)
    assert 0.9 < difference.low < difference.high < 1.1
    alone = Bootstrap().mean(a)
    assert alone.high - alone.low > 20 * (difference.high - difference.low)


def test_neither_order_nor_memory_changes_an_interval(monkeypatch):
    values = named(np.random.default_rng(3).normal(size=50))
    backwards = dict(reversed(values.items()))
    expected = Bootstrap().mean(values)
    assert Bootstrap().mean(backwards) == expected
    assert Bootstrap(seed=1).mean(values) != expected
    monkeypatch.setattr(bootstrap, "CHUNK", 777)
    assert Bootstrap().mean(values) == expected


def test_settings_are_checked():
    with pytest.raises(ValueError, match="resamples"):
        Bootstrap(resamples=0)
    with pytest.raises(ValueError, match="level"):
        Bootstrap(level=95)
