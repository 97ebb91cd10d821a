import logging

import pytest
import torch

from fido.runtime.batching import Batches

CPU = torch.device("cpu")


def impossible(count):
    """A piece that fits only with at most three rows: the allocator itself says no."""
    return torch.empty(1 if count <= 3 else 1 << 55, dtype=torch.uint8)


def test_pieces_cover_all_rows_in_order():
    batches = Batches(4, CPU)
    assert list(batches(10, lambda start, stop: (start, stop))) == [(0, 4), (4, 8), (8, 10)]
    assert list(batches(0, lambda start, stop: (start, stop))) == []


def test_rows_of_an_item_stay_together():
    pieces = list(Batches(7, CPU)(5, lambda start, stop: (start, stop), rows_each=3))
    assert pieces == [(0, 2), (2, 4), (4, 5)]
    assert list(Batches(2, CPU)(2, lambda start, stop: stop - start, rows_each=3)) == [1, 1]
    batches = Batches(9, CPU)
    list(batches(4, lambda start, stop: impossible((stop - start) * 3), rows_each=3))
    assert batches.size == 3


def test_the_size_that_suits_the_device():
    assert Batches(None, CPU).size == 8
    assert Batches(None, torch.device("cuda")).size == 64


def test_out_of_memory_halves_the_piece_repeats_it_and_stays_small(caplog):
    batches, tried = Batches(8, CPU), []

    def work(start, stop):
        tried.append((start, stop))
        impossible(stop - start)
        return list(range(start, stop))

    with caplog.at_level(logging.WARNING):
        done = list(batches(5, work))
    assert tried == [(0, 5), (0, 2), (2, 4), (4, 5)]
    assert [row for piece in done for row in piece] == list(range(5))
    assert batches.size == 2
    assert [record.message for record in caplog.records] == [
        "out of memory; going on with rows_per_pass=2"
    ]
    assert list(batches(2, lambda start, stop: stop - start)) == [2]


def test_a_row_that_never_fits_and_other_errors_come_through():
    with pytest.raises(RuntimeError, match="allocate"):
        list(Batches(4, CPU)(4, lambda start, stop: impossible(9)))
    with pytest.raises(RuntimeError, match="size of tensor"):
        list(Batches(4, CPU)(4, lambda start, stop: torch.zeros(2) + torch.zeros(3)))
    with pytest.raises(ValueError, match="rows_per_pass"):
        Batches(0, CPU)
