import csv
import dataclasses
import errno
import json
import os
import shutil

import pytest
import torch
from planted import planted_sample

from fido.evaluation.score_store import ScoreStore
from fido.metrics.score_set import ImageScore
from fido.records import Explanation, Key, RegionEdit
from fido.runs.result_file import file_stem
from fido.runs.run_settings import SettingsMismatchError
from fido.runs.store import ResultsStore
from fido.runs.sweep import run_name
from fido.runtime import files
from fido.runtime.files import DamagedFileError, write_json


def explanation(image_id="planted", **fields):
    saliency = torch.rand(1, 40, 48)
    return Explanation(image_id, target=1, saliency=saliency, **fields)


def row(image_id="planted", **fields):
    return {"id": image_id, "status": "explained", "label": 1, "target": 1, "seed": 0, **fields}


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
    assert list(store) == [Key(sample.id, 1, 0)]


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
    store.save_not_explained({"id": "b", "status": "unreadable", "reason": "no file, or none"})
    store.save(planted_sample(), explanation("a"), row("a", area=0.5))
    store.save_not_explained({"id": "c", "status": "failed", "reason": "x"})
    store.save(planted_sample(), explanation("c"), row("c", area=0.25))
    with store.write_scores().open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(r["id"], r["status"], r["area"]) for r in rows] == [
        ("a", "explained", "0.5"),
        ("b", "unreadable", ""),
        ("c", "explained", "0.25"),
    ]
    assert rows[1]["reason"] == "no file, or none"


def test_scores_that_another_process_has_not_written_yet_are_none(tmp_path):
    store = ResultsStore(tmp_path)
    store.write_scores([row("a", p_kept=0.5, flipped=0), row("b")])
    scores = store.scores()
    assert scores[Key("a", 1, 0)]["p_kept"] == "0.5"
    assert scores[Key("a", 1, 0)]["flipped"] == "0"
    assert scores[Key("b", 1, 0)]["p_kept"] is None


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

    monkeypatch.setattr("fido.runtime.tensors.save_file", full)
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


def test_targets_and_seeds_of_one_image_live_side_by_side(tmp_path):
    store, sample = ResultsStore(tmp_path), planted_sample()
    saved = {}
    for target in (0, 1):
        for seed in (0, 3):
            one = explanation(seed=seed)
            one = dataclasses.replace(one, target=target)
            store.save(sample, one, row(target=target, seed=seed))
            saved[one.key] = one.saliency
    assert list(store) == sorted(saved)
    assert len(store) == 4
    for key, saliency in saved.items():
        loaded = store.load(key)
        assert torch.equal(loaded.saliency, saliency)
        assert loaded.key == key
    assert Key("planted", 1, 1) not in store
    assert "planted" in store
    with pytest.raises(KeyError, match="4 explanations of 'planted'"):
        store.load("planted")
    store.write_scores()
    assert sorted(store.scores()) == sorted(saved)


def test_edits_counterfactuals_and_class_names_come_back(tmp_path):
    store, sample = ResultsStore(tmp_path), planted_sample()
    other = torch.randint(0, 256, (3, 40, 48), dtype=torch.uint8)
    channels_last = torch.randint(0, 256, (40, 48, 3)).permute(2, 0, 1) / 255
    edit = RegionEdit(channels_last, torch.zeros(3, 40, 48), torch.rand(2, 3).T)
    store.save(sample, explanation(counterfactual=other), row(), edit, ranking=[1, 0])
    store.save_class_names(["dark", "<b>$x$"])
    again = ResultsStore(tmp_path)
    assert torch.equal(again.load("planted").counterfactual, other)
    assert torch.equal(again.edit("planted").kept, edit.kept)
    assert torch.equal(again.edit("planted").probabilities, edit.probabilities)
    assert again.ranking("planted") == [1, 0]
    assert again.class_names() == ["dark", "<b>$x$"]
    store.save(planted_sample(image_id="plain"), explanation("plain"), row("plain"))
    assert again.edit("plain") is None


IDS = [
    "a/b", "a__b", "..", ".hidden", "-1", "0", "photo (1).jpg", "x,y=z", "it's", "%2F", "~", "a b ",
    "é中", "\udcff", "con:", "a*?", "line\nbreak", "x" * 300, "x" * 299 + "y", "p.class1.seed0",
]  # fmt: skip


def test_any_text_is_an_id_and_none_collide_or_leave_the_folder(tmp_path):
    store = ResultsStore(tmp_path / "run")
    for i, image_id in enumerate(IDS):
        saliency = torch.full((1, 40, 48), float(i))
        saved = Explanation(image_id, 1, saliency)
        store.save(planted_sample(image_id=image_id), saved, row(image_id))
        store.save_not_explained({"id": f"{image_id}?", "status": "failed", "reason": "x"})
    assert [key.image_id for key in store] == sorted(IDS)
    for i, image_id in enumerate(IDS):
        assert float(store.load(image_id).saliency.mean()) == i
        assert Key(image_id, 1, 0) in store
    assert {row["id"] for row in store.rows_not_explained()} == {f"{i}?" for i in IDS}
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {p.parent.parent for p in files} == {tmp_path / "run"}
    assert len(files) == 2 * len(IDS)
    assert max(len(p.name.encode()) for p in files) < 160


def test_a_note_goes_with_its_result_and_stays_for_other_targets(tmp_path):
    store = ResultsStore(tmp_path)
    store.save_not_explained({"id": "a", "status": "unreadable", "reason": "x"})
    store.save_not_explained(row("a", status="failed", target=0))
    store.save(planted_sample(), explanation("a"), row("a"))
    assert [(r["status"], r["target"]) for r in store.rows_not_explained()] == [("failed", 0)]


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign", "header", "grown"])
def test_damaged_files_are_named_set_aside_and_made_again(tmp_path, damage):
    store = ResultsStore(tmp_path)
    for name in "ab":
        store.save(planted_sample(image_id=name), explanation(name), row(name))
    path = tmp_path / "explanations" / f"{file_stem(Key('a', 1, 0))}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-100],
            "foreign": b"\x89PNG and so on" * 20,
            "header": whole[:8] + b"x" * (len(whole) - 8),
            "grown": whole + b"x",
        }[damage]
    )
    with pytest.raises(DamagedFileError, match=rf"{path.name} is damaged"):
        store.load("a")
    (aside,) = store.set_aside_damaged()
    assert aside == tmp_path / "damaged" / path.name
    assert [key.image_id for key in store] == ["b"]
    store.save(planted_sample(image_id="a"), explanation("a"), row("a"))
    assert len(store) == 2
    assert store.set_aside_damaged() == []


def test_damaged_notes_and_names_are_made_again(tmp_path):
    store = ResultsStore(tmp_path)
    store.save_not_explained({"id": "b", "status": "failed", "reason": "x"})
    (note,) = (tmp_path / "not_explained").iterdir()
    note.write_text("")
    with pytest.raises(DamagedFileError, match=rf"{note.name} is damaged"):
        store.rows()
    assert store.set_aside_damaged() == [tmp_path / "damaged" / note.name]
    assert store.rows() == []
    (tmp_path / "class_names.json").write_text("")
    store.save_class_names(["cat"])
    assert store.class_names() == ["cat"]


def test_a_foreign_file_among_results_is_named(tmp_path):
    store = ResultsStore(tmp_path)
    (tmp_path / "explanations" / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    with pytest.raises(DamagedFileError, match=r"model\.safetensors is damaged"):
        list(store)


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"seed"', b"[1]", b"\xff\xfe"])
def test_damaged_settings_are_made_again_unless_results_are_of_them(tmp_path, damage):
    store = ResultsStore(tmp_path, {"seed": 0})
    (tmp_path / "settings.json").write_bytes(damage)
    assert ResultsStore(tmp_path, {"seed": 0}).settings() == {"seed": 0}
    assert (tmp_path / "damaged" / "settings.json").read_bytes() == damage
    store.save(planted_sample(), explanation(), row())
    (tmp_path / "settings.json").write_bytes(damage)
    with pytest.raises(SettingsMismatchError, match=r"settings\.json is damaged"):
        ResultsStore(tmp_path, {"seed": 0})
    with pytest.raises(DamagedFileError, match=r"settings\.json is damaged"):
        ResultsStore(tmp_path)
    (tmp_path / "settings.json").unlink()
    with pytest.raises(SettingsMismatchError, match=r"no settings\.json says"):
        ResultsStore(tmp_path, {"seed": 0})
    assert not (tmp_path / "settings.json").exists()


def test_folders_of_another_format_are_refused_in_one_sentence_and_left_alone(tmp_path):
    (tmp_path / "settings.json").write_text('{"seed": 0}')
    with pytest.raises(ValueError, match="format of another version of fido; this version reads"):
        ResultsStore(tmp_path, {"seed": 0})
    assert [p.name for p in tmp_path.iterdir()] == ["settings.json"]


def test_a_file_under_another_results_name_is_no_result_of_it(tmp_path):
    store = ResultsStore(tmp_path)
    store.save(planted_sample(image_id="a"), explanation("a"), row("a"))
    (path,) = store.explanations.iterdir()
    shutil.copy(path, path.with_name(path.name.replace("a.", "b.", 1)))
    with pytest.raises(DamagedFileError, match=r"b\.class1\.seed0.*the result of 'a'"):
        store.load("b")
    with pytest.raises(DamagedFileError):
        list(store)
    assert [moved.name[0] for moved in store.set_aside_damaged()] == ["b"]
    assert [key.image_id for key in store] == ["a"]


def test_an_image_called_like_a_result_has_a_note_of_its_own(tmp_path):
    store = ResultsStore(tmp_path)
    failed = {"id": "a", "status": "failed", "reason": "x", "target": 1, "seed": 0}
    store.save_not_explained(failed)
    store.save_not_explained({"id": "a.class1.seed0", "status": "unreadable", "reason": "y"})
    assert [one["id"] for one in store.rows()] == ["a", "a.class1.seed0"]
    store.save(planted_sample(image_id="a.class1.seed0"), explanation("a.class1.seed0"), row())
    assert [one["status"] for one in store.rows_not_explained()] == ["failed"]


@pytest.mark.parametrize("content", [{"a": 1}, {"id": 3, "status": "x"}, {"id": "b", "status": []}])
def test_a_note_of_something_else_is_damaged(tmp_path, content):
    store = ResultsStore(tmp_path)
    write_json(store.not_explained / "b.json", content)
    with pytest.raises(DamagedFileError, match=r"b\.json is damaged"):
        store.rows()
    assert [path.name for path in store.set_aside_damaged()] == ["b.json"]


@pytest.mark.parametrize(
    "content",
    [
        {"explainer": 3},
        {"made_by": "me"},
        {"made_by": {"choices": ["x"]}},
        {"made_by": {"choices": {"explainer": 1}, "overrides": []}},
        {"made_by": {"overrides": "explainer=lime"}},
        {"classifier": [1]},
    ],
)
def test_settings_of_something_else_are_named(tmp_path, content):
    write_json(tmp_path / "settings.json", {"format": 2, **content})
    (tmp_path / "explanations").mkdir()
    for read in (ResultsStore, run_name):
        with pytest.raises(DamagedFileError, match=r"settings\.json is damaged"):
            read(tmp_path)


@pytest.mark.parametrize("names", [7, ["a", 7], {"a": 1}])
def test_class_names_of_something_else_are_made_again(tmp_path, names):
    store = ResultsStore(tmp_path)
    write_json(tmp_path / "class_names.json", {"class_names": names})
    with pytest.raises(DamagedFileError, match=r"class_names\.json is damaged"):
        store.class_names()
    store.save_class_names(["dark", "bright"])
    assert store.class_names() == ["dark", "bright"]


@pytest.mark.parametrize(
    "content",
    [
        {"region": 5},
        {"region": {"explanation": {}}},
        {"region": {"explanation": {"key": 1, "values": {}, "curve": None}}},
        {"region": {"explanation": {"key": "k", "values": {"p": "x"}, "curve": None}}},
        {"region": {"explanation": {"key": "k", "values": [], "curve": None}}},
        {"region": {"explanation": {"key": "k", "values": {}, "curve": [[1]]}}},
        {"region": {"explanation": {"key": "k", "values": {}, "curve": None, "features": [1]}}},
    ],
)
def test_scores_of_something_else_are_set_aside_and_made_again(tmp_path, content, caplog):
    key = Key("a", 1, 0)
    write_json(tmp_path / "a.class1.seed0.json", content)
    scores = ScoreStore(tmp_path).open(key)
    assert "a.class1.seed0.json is damaged" in caplog.text
    assert scores.get("region", "explanation", "k") is None
    scores.put("region", "explanation", "k", ImageScore({"p": 0.5}, None, {}))
    scores.save()
    again = ScoreStore(tmp_path).open(key).get("region", "explanation", "k")
    assert again.values == {"p": 0.5}


@pytest.mark.parametrize(
    "damage",
    [
        b"\x9f\xff",
        b"id,target,seed\na,x,0\n",
        b"target,seed\n1,0\n",
        b"id,target\n" + b"x" * 200_000,
    ],
)
def test_a_table_of_scores_that_is_none_is_named(tmp_path, damage):
    store = ResultsStore(tmp_path)
    (tmp_path / "scores.csv").write_bytes(damage)
    with pytest.raises(DamagedFileError, match=r"scores\.csv is damaged"):
        store.scores()
    store.write_scores([])
    assert store.scores() == {}
