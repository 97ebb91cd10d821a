"""Range checks: what passes, and how the others are named."""

import math

import pytest

from fido.runtime.checks import check_above, check_at_least, check_choice


def test_allowed_values_pass():
    check_at_least(1, "explainer", steps=1, grid=7, limit=None)
    check_above(0, "explainer", rate=1e-9, width=None)
    check_choice(("a", "b"), "mask", unit="b")


@pytest.mark.parametrize("value", [0, -3, math.nan])
def test_the_first_wrong_number_is_named(value):
    with pytest.raises(ValueError, match=rf"^explainer\.steps must be 1 or more, got {value}$"):
        check_at_least(1, "explainer", grid=2, steps=value, samples=-9)
    with pytest.raises(ValueError, match=rf"^infiller\.sigma must be above 0, got {value}$"):
        check_above(0, "infiller", sigma=value)


def test_a_wrong_word_is_named_with_the_choices():
    with pytest.raises(ValueError, match=r"^mask\.unit must be pixel or cell, got 'dot'$"):
        check_choice(("pixel", "cell"), "mask", unit="dot")
    with pytest.raises(ValueError, match=r"^a\.b must be one of x, y, z, got 'w'$"):
        check_choice(("x", "y", "z"), "a", b="w")
