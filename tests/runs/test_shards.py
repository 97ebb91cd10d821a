"""Several processes and one folder: the files are those of one process."""

import json
import multiprocessing
import threading
import time
from functools import partial

import pytest
import torch
from command_line import files
from planted import planted_classifier, planted_sample
from planted_run import Notes, Planted

from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR
from fido.records import Explanation
from fido.runs.run_settings import SettingsMismatchError
from fido.runs.runner import Runner
from fido.runs.shards import Shard
from fido.runs.store import ResultsStore
from fido.runtime.files import create_json

NAMES = [*"abcdefghijkl"]
SETTINGS = {"objective": {"sparsity": 0.02}}


def explain(folder, source, shard=None, notes=None):
    """One process: what `explain.py` does with a store, a source and a shard."""
    classifier, infiller = planted_classifier(), MeanInfiller((0.2, 0.2, 0.2))
    explainer = Fido(
        classifier, infiller, SSR(0.02), partial(ConcreteMask, grid=10), steps=10, samples=2
    )
    store = ResultsStore(folder, SETTINGS)
    observers = [notes] if notes else []
    return Runner(classifier, infiller, explainer, store, observers=observers, shard=shard).run(
        source
    )


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
def test_every_image_is_in_one_shard_and_shards_are_as_large_as_each_other(count):
    shares = [Shard(index, count).share(NAMES) for index in range(count)]
    assert sorted(name for share in shares for name in share) == NAMES
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("index", "count", "words"),
    [
        (0, 0, "num_shards must be a whole number from 1, got 0"),
        (0, "x", "num_shards must be a whole number from 1, got 'x'"),
        (4, 4, "shard must be a whole number from 0 to num_shards - 1 = 3, got 4"),
        (-1, 4, "got -1"),
        (None, 4, "got None"),
        (1, 1, "num_shards - 1 = 0, got 1"),
    ],
)
def test_wrong_numbers_are_named(index, count, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        Shard(index, count)


def test_a_shard_is_named_by_both_numbers():
    assert (Shard(2, 4).name, Shard().name) == ("shard_2_of_4", "")


def test_a_shard_has_the_same_images_when_it_is_started_again(tmp_path):
    (tmp_path / "photos").mkdir()
    source = Planted(tmp_path / "photos", NAMES[:5])
    explain(tmp_path / "run", Planted(tmp_path / "photos", NAMES[:1]))
    notes = Notes()
    summary = explain(tmp_path / "run", source, Shard(1, 2), notes)
    assert (notes.begun, notes.results) == ([(0, 2)], ["b", "d"])
    assert summary["images"] == {"explained": 3}
    assert summary["missing"] == 2
    assert summary["this_run"]["images"] == 2
    again = Notes()
    explain(tmp_path / "run", source, Shard(1, 2), again)
    assert again.begun == [(2, 0)]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["missing"] == 2


def test_what_another_process_has_done_meanwhile_is_not_done_again(tmp_path):
    (tmp_path / "photos").mkdir()
    source = Planted(tmp_path / "photos", NAMES[:3])

    class Other(Notes):
        def result(self, result):
            super().result(result)
            if len(self.results) == 1:
                explain(tmp_path / "run", source, Shard(1, 3))

    notes = Other()
    summary = explain(tmp_path / "run", source, notes=notes)
    assert notes.results == ["a", "c"]
    assert summary["images"] == {"explained": 3}


def work(folder, photos, limit, index, count):
    torch.set_num_threads(1)
    explain(folder, Planted(photos, NAMES, limit=limit), Shard(index, count))


def test_shards_at_once_one_of_them_killed_leave_the_bytes_of_one_process(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    explain(tmp_path / "whole", Planted(photos, NAMES))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fido.runs.runner", "fido.explainers.fido"])
    run = tmp_path / "run"

    def start(index):
        process = context.Process(target=work, args=(run, photos, 10, index, 2))
        process.start()
        return process

    def done_by_second():
        return sum(name in ResultsStore(run) for name in NAMES[1:10:2])

    first = start(0)
    for kill in range(3):
        second, until = start(1), time.monotonic() + 60
        while done_by_second() <= kill:
            assert second.is_alive()
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(0.005 * kill)  # at different places of the next image
        second.kill()
        second.join()
        assert second.exitcode == -9
    assert done_by_second() < 5
    second = start(1)
    first.join()
    second.join()
    assert (first.exitcode, second.exitcode) == (0, 0)
    assert (run / "scores.csv").read_text().count("explained") == 10
    for index in (2, 0, 1):  # another number of shards, and images that have come since
        work(run, photos, None, index, 3)
    assert files(run) == files(tmp_path / "whole")
    summaries = [json.loads((f / "summary.json").read_text()) for f in (run, tmp_path / "whole")]
    for summary in summaries:
        assert summary.pop("this_run")
    assert summaries[0] == summaries[1]
    assert summaries[0]["missing"] == 0


def save(store, image_id):
    row = {"id": image_id, "status": "explained", "label": 1, "target": 1}
    explanation = Explanation(image_id, 1, torch.zeros(1, 40, 48))
    store.save(planted_sample(image_id=image_id), explanation, row)


def test_of_two_that_end_together_the_slower_does_not_write_less(tmp_path):
    ours, theirs = ResultsStore(tmp_path), ResultsStore(tmp_path)
    save(ours, "a")
    lists = ours.rows_until_stable(lambda: len(ours) == 2)
    old = next(lists)
    save(theirs, "b")
    theirs.write_scores()
    ours.write_scores(old)
    assert "b,explained" not in (tmp_path / "scores.csv").read_text()
    for rows in lists:
        ours.write_scores(rows)
    assert "b,explained" in (tmp_path / "scores.csv").read_text()


def test_nobody_waits_for_images_that_others_are_still_working_on(tmp_path):
    ours, theirs = ResultsStore(tmp_path), ResultsStore(tmp_path)
    lists = ours.rows_until_stable(lambda: len(ours) == 2)
    assert next(lists) == []
    save(theirs, "a")
    assert list(lists) == []


def test_a_note_that_goes_away_while_rows_are_read_is_no_error(tmp_path):
    store, stop = ResultsStore(tmp_path), threading.Event()

    def note_and_remove():
        while not stop.is_set():
            store.save_not_explained({"id": "a", "status": "failed", "reason": "x"})
            (store.not_explained / "a.json").unlink()

    save(store, "b")
    other = threading.Thread(target=note_and_remove)
    other.start()
    try:
        for _ in range(200):
            assert next(store.rows_until_stable(lambda: True))[-1]["id"] == "b"
    finally:
        stop.set()
        other.join()


def test_one_of_many_first_processes_decides_on_the_settings(tmp_path):
    outcomes, barrier = [], threading.Barrier(8)

    def begin(sparsity):
        barrier.wait()
        try:
            ResultsStore(tmp_path, {"objective": {"sparsity": sparsity}})
            outcomes.append(sparsity)
        except SettingsMismatchError:
            pass

    threads = [threading.Thread(target=begin, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    settings = json.loads((tmp_path / "settings.json").read_text())
    assert outcomes == [settings["objective"]["sparsity"]]
    assert not create_json(tmp_path / "settings.json", {})
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["settings.json"]
