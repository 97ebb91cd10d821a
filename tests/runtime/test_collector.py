"""What was there is left alone inside, and what is made inside is still collected."""

import gc
import weakref
from contextlib import suppress

import pytest

from fido.runtime.collector import heap_left_alone, no_collections


class Node:
    """An object that refers to itself, so only the collector frees it."""

    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def _no_collection_by_chance():
    gc.disable()
    yield
    gc.enable()


def test_cycles_of_before_wait_until_the_end():
    before = weakref.ref(Node())
    with heap_left_alone():
        inside = weakref.ref(Node())
        gc.collect()
        assert before() is not None
        assert inside() is None
    gc.collect()
    assert before() is None


def test_an_error_ends_it_too():
    with suppress(ValueError), heap_left_alone():
        assert gc.get_freeze_count() > 0
        raise ValueError("planted")
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("on", [True, False])
def test_collections_wait_and_are_as_they_were_afterwards(on):
    if on:
        gc.enable()
    with suppress(ValueError), no_collections():
        assert not gc.isenabled()
        raise ValueError("planted")
    assert gc.isenabled() is on
