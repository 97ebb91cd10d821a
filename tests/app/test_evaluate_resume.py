"""An evaluation that is stopped, killed or asked again does what is left, and nothing twice."""

import json
import multiprocessing
import resource
import shutil
import time

import pytest
import torch
from analytic import share_classifier
from noise_images import (
    BLACK,
    BOX,
    SIZE,
    by_image,
    counted,
    evaluation,
    metrics,
    noise,
    save,
    two_stores,
)

from fido.infillers.random import RandomInfiller
from fido.metrics.deletion import Deletion
from fido.metrics.localization import Localization
from fido.report.files import write_evaluation
from fido.runs.store import ResultsStore


@pytest.fixture
def stores(tmp_path):
    return two_stores(tmp_path)


def assert_same(one, other):
    assert list(one) == list(other)
    for image_id, values in one.items():
        assert values == pytest.approx(other[image_id], abs=0, nan_ok=True)


def test_what_is_on_disk_is_not_computed_again(stores, tmp_path):
    classifier = counted()
    first = evaluation(stores, tmp_path / "out", metrics(classifier)).run()
    done = classifier.network.rows
    again = evaluation(stores, tmp_path / "out", metrics(classifier)).run()
    assert classifier.network.rows == done
    elsewhere = evaluation({"good": stores["good"]}, tmp_path / "other", metrics(classifier)).run()
    # Only the rows without an explainer belong to the folder; the store's scores are in the store.
    assert 0 < classifier.network.rows - done < done / 2
    for name in metrics():
        for row in first[name]:
            assert_same(by_image(first, name, row), by_image(again, name, row))
        assert_same(by_image(first, name, "good"), by_image(elsewhere, name, "good"))


def test_a_killed_evaluation_goes_on_where_it_was(stores, tmp_path):
    whole = counted()
    expected = evaluation(stores, tmp_path / "whole", metrics(whole)).run()
    for store in stores.values():
        shutil.rmtree(store.folder / "scored")
    broken, resumed = counted(), counted()
    first = evaluation(stores, tmp_path / "out", metrics(broken))
    for image_id in first.ids()[:4]:
        first.score_image(image_id)
    (stores["good"].folder / "scored" / ".img04.99.tmp.json").write_text('{"torn')
    records = evaluation(stores, tmp_path / "out", metrics(resumed)).run()
    assert broken.network.rows + resumed.network.rows == whole.network.rows
    for name in metrics():
        for row in expected[name]:
            assert_same(by_image(records, name, row), by_image(expected, name, row))


class Slow(Localization):
    """Leaves time to be killed."""

    def score(self, sample, explanation):
        time.sleep(0.01)
        return super().score(sample, explanation)


def test_sigkill_at_any_moment_leaves_the_same_bytes(stores, tmp_path):
    def work(folder):
        deletion = Deletion(share_classifier(BOX, SIZE), RandomInfiller(), 512)
        one = evaluation(stores, folder, {"localization": Slow(), "deletion": deletion})
        write_evaluation(folder, one, one.run())

    def files(folder):
        found = [*folder.rglob("*.json"), *folder.rglob("*.csv"), *folder.rglob("*.md")]
        inside = [p for s in stores.values() for p in (s.folder / "scored").iterdir()]
        assert not [p for p in (*found, *inside) if ".tmp" in p.name]
        ours = {f"out/{p.relative_to(folder)}": p for p in found}
        theirs = {f"{p.parents[1].name}/{p.name}": p for p in inside}
        assert len(theirs) == 18
        return {name: p.read_bytes() for name, p in {**ours, **theirs}.items()}

    work(tmp_path / "whole")
    expected = files(tmp_path / "whole")
    for store in stores.values():
        shutil.rmtree(store.folder / "scored")
    context = multiprocessing.get_context("fork")
    kills = 0
    for delay in (0.05, 0.13, 0.21, 0.34):
        process = context.Process(target=work, args=(tmp_path / "out",))
        process.start()
        time.sleep(delay)
        kills += process.is_alive()
        process.kill()
        process.join()
    assert kills >= 2
    work(tmp_path / "out")
    for leftover in tmp_path.rglob(".*.tmp*"):
        leftover.unlink()  # a half-written temporary file is never read
    assert files(tmp_path / "out") == expected


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    store = ResultsStore(tmp_path / "many")
    for i in range(160):
        save(store, i, noise(i))
    one = evaluation({"many": store}, tmp_path / "out")
    ids = one.ids()
    used = []
    for i, image_id in enumerate(ids):
        one.score_image(image_id)
        if i in (59, 159):
            used.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert used[1] - used[0] < 4_000  # kilobytes, for 100 images of 50 kB each


def test_another_map_or_other_settings_are_scored_anew(stores, tmp_path, monkeypatch):
    def auc(settings=None, classifier=None):
        which = {"deletion": Deletion(classifier or share_classifier(BOX, SIZE), BLACK, 512)}
        one = evaluation(stores, tmp_path / "out", which, {"deletion": settings or {}})
        return by_image(one.run(), "deletion", "good")["img01"]["auc"]

    before = auc()
    save(stores["good"], 1, noise(5))
    after = auc()
    assert after > before + 0.05
    page = stores["good"].folder / "scored" / "img01.class0.seed0.json"
    content = json.loads(page.read_text())
    content["deletion"]["explanation"]["values"]["auc"] = 7.0
    page.write_text(json.dumps(content))
    assert auc() == 7.0  # the key still fits
    assert auc({"pixels_per_step": 3}) == after
    content["deletion"]["explanation"]["key"] = "another"
    page.write_text(json.dumps(content))
    assert auc() == after
    content["deletion"]["explanation"] = json.loads(page.read_text())["deletion"]["explanation"]
    content["deletion"]["explanation"]["values"]["auc"] = 7.0
    page.write_text(json.dumps(content))
    assert auc() == 7.0
    monkeypatch.setattr(
        Deletion, "revision", Deletion.revision + 1
    )  # the metric's own code has changed
    assert auc() == after


def test_weights_are_part_of_the_key(stores, tmp_path):
    def key(bias):
        classifier = share_classifier(BOX, SIZE)
        classifier.network.register_buffer("bias", torch.tensor(bias))
        one = evaluation(stores, tmp_path, {"deletion": Deletion(classifier, BLACK)})
        (found,) = one._digests.values()
        return found

    assert key(0.0) == key(0.0)
    assert key(0.0) != key(1.0)
