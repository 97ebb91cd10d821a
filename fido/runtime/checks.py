"""Range checks of settings, with one wording for all."""

from __future__ import annotations

from collections.abc import Sequence


def check_at_least(least: float, owner: str, **values: float | None) -> None:
    """Refuse numbers below a limit; None passes.

    Args:
        least: The smallest allowed value.
        owner: Where the settings stand in `conf/`: "explainer", "infiller", ...
        **values: The settings by name.

    Raises:
        ValueError: Names the first setting that is too small, the limit and the value.
    """
    for name, value in values.items():
        if value is not None and not value >= least:
            raise ValueError(f"{owner}.{name} must be {least} or more, got {value}")


def check_above(limit: float, owner: str, **values: float | None) -> None:
    """Refuse numbers that are not above a limit; None passes. See `check_at_least`.

    Raises:
        ValueError: Names the first setting that is too small, the limit and the value.
    """
    for name, value in values.items():
        if value is not None and not value > limit:
            raise ValueError(f"{owner}.{name} must be above {limit}, got {value}")


def check_choice(choices: Sequence[str], owner: str, **values: str) -> None:
    """Refuse words that are not among the choices. See `check_at_least`.

    Raises:
        ValueError: Names the first setting with another word, the choices and the word.
    """
    for name, value in values.items():
        if value not in choices:
            among = " or ".join(choices) if len(choices) == 2 else "one of " + ", ".join(choices)
            raise ValueError(f"{owner}.{name} must be {among}, got {value!r}")
