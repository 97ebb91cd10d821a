"""What is done when a sweep has ended, however it has."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_arranged: list[Callable[[], object]] = []


def at_end(act: Callable[[], object]) -> None:
    """Have something done when the sweep has ended; callbacks call it in `on_multirun_start`.

    Hydra's own `on_multirun_end` is not called when a job has failed, and errors in it become
    warnings, which leave the exit code at 0.
    """
    _arranged.append(act)


@contextmanager
def sweep_results() -> Iterator[None]:
    """After the block do what was arranged in it, also when the block raises.

    All of it is done, whatever fails. The first error goes on, so that the process ends with it;
    later ones are printed.
    """
    first: BaseException | None = None
    try:
        yield
    except BaseException as error:
        first = error
    while _arranged:
        try:
            _arranged.pop(0)()
        except BaseException as error:
            if first is None:
                first = error
            else:
                print(f"error: {error}", file=sys.stderr)
    if first is not None:
        raise first
