import csv
import errno
import json
import os

import pytest
import torch
from planted import planted_sample

from fido.records import Explanation
from fido.runs.store import ResultsStore, SettingsMismatchError
from fido.runtime import files


def explanation(image_id="planted", **fields):
    saliency = torch.rand(1, 40, 48)
    return Explanation(image_id, target=1, saliency=saliency, **fields)


def row(image_id="planted", **fields):
    return {"id": image_id, "status": "explained", "label": 1, "target": 1, **fields}


def test_round_trip(tmp_path):
    store, sample = ResultsStore(tmp_path), planted_sample()
    saved = explanation(
        threshold=0.25,
        keep_prob=torch.rand(1, 40, 48),
        history={"loss": torch.rand(7)},
        cost={"forward": 3},
    )
    assert sample.id not in store
    store.save(sample, saved, row(area=0.5))
    loaded, again = store.load(sample.id), store.sample(sample.id)
    assert torch.equal(loaded.saliency, saved.saliency)
    assert torch.equal(loaded.keep_prob, saved.keep_prob)
    assert torch.equal(loaded.history["loss"], saved.history["loss"])
    assert (loaded.threshold, loaded.cost, loaded.target) == (0.25, {"forward": 3}, 1)
    torch.testing.assert_close(again.image, sample.image, atol=0.51 / 255, rtol=0)
    assert torch.equal(again.boxes, sample.boxes)
    assert store.row(sample.id)["area"] == 0.5
    assert list(store) == [sample.id]


def test_photos_of_8_bits_come_back_exactly(tmp_path):
    from dataclasses import replace

    store = ResultsStore(tmp_path)
    image = torch.randint(0, 256, (3, 40, 48)) / 255
    sample = replace(planted_sample(), image=image, boxes=None)
    store.save(sample, explanation(), row())
    assert torch.equal(store.sample(sample.id).image, image)
    assert store.sample(sample.id).boxes is None


def test_a_map_that_shares_memory_with_its_keep_probability_can_be_saved(tmp_path):
    saliency = torch.rand(1, 40, 48)
    shared = Explanation("planted", 1, saliency, keep_prob=saliency)
    ResultsStore(tmp_path).save(planted_sample(), shared, row())
    assert torch.equal(ResultsStore(tmp_path).load("planted").keep_prob, saliency)


def test_missing_images_are_named(tmp_path):
    with pytest.raises(KeyError, match="nobody"):
        ResultsStore(tmp_path).load("nobody")


def test_scores_hold_finished_and_other_images_once(tmp_path):
    store = ResultsStore(tmp_path)
    store.save_not_explained("b", {"id": "b", "status": "unreadable", "reason": "no file, or none"})
    store.save(planted_sample(), explanation("a"), row("a", area=0.5))
    store.save_not_explained("c", {"id": "c", "status": "failed", "reason": "x"})
    store.save(planted_sample(), explanation("c"), row("c", area=0.25))
    with store.write_scores().open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(r["id"], r["status"], r["area"]) for r in rows] == [
        ("a", "explained", "0.5"),
        ("b", "unreadable", ""),
        ("c", "explained", "0.25"),
    ]
    assert rows[1]["reason"] == "no file, or none"


def test_other_settings_in_the_same_folder_are_refused_and_named(tmp_path):
    settings = {"objective": {"sparsity": 1e-3}, "mask": {"grid": (7, 7)}, "seed": 0}
    ResultsStore(tmp_path, settings)
    ResultsStore(tmp_path, settings)
    ResultsStore(tmp_path)
    with pytest.raises(SettingsMismatchError, match=r"objective\.sparsity: 0\.001 there, 0\.1 now"):
        ResultsStore(tmp_path, {**settings, "objective": {"sparsity": 0.1}})


def test_a_full_disk_leaves_neither_file_nor_remains(tmp_path, monkeypatch):
    store = ResultsStore(tmp_path)

    def full(tensors, path, metadata):
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fido.runs.store.save_file", full)
    with pytest.raises(OSError, match="No space"):
        store.save(planted_sample(), explanation(), row())
    assert list((tmp_path / "explanations").iterdir()) == []
    assert "planted" not in store


def test_atomic_files_replace_whole_or_stay_as_they_were(tmp_path):
    path = tmp_path / "deep" / "file.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_files_may_be_read_by_whom_the_process_lets_read(tmp_path):
    before = os.umask(0o022)
    try:
        store, sample = ResultsStore(tmp_path), planted_sample()
        store.save(sample, explanation(sample.id), row(sample.id))
    finally:
        os.umask(before)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert files
    assert {p.stat().st_mode & 0o777 for p in files} == {0o644}
