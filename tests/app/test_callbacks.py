"""What a sweep leaves: a sheet of few images, whatever the number of maps."""

import pytest
import torch
from noise_images import noise, save
from omegaconf import OmegaConf
from PIL import Image

from fido.app.explain import (
    check_counterfactual,
    check_optimized_metric,
    optimized_values,
    target_choice,
)
from fido.report.contact_sheet import draw_contact_sheet
from fido.runs.store import ResultsStore
from fido.runs.sweep import sweep_stores


def jobs(folder, **overrides):
    for name, given in overrides.items():
        yield ResultsStore(folder / name, {}, {"overrides": given})


def test_only_the_maps_that_are_drawn_are_read(tmp_path, monkeypatch):
    a, b = jobs(tmp_path, a=["seed=0"], b=["seed=1"])
    for i in range(6):
        save(a, i, noise(i))
        if i != 1:
            save(b, i, noise(i, 1))
    read = []
    load = ResultsStore.load
    monkeypatch.setattr(
        ResultsStore, "load", lambda s, i: read.append((s.folder.name, i.image_id)) or load(s, i)
    )
    sheet = draw_contact_sheet(tmp_path, max_images=3)
    drawn = ["img00", "img01", "img02"]
    assert sorted(read) == sorted(
        [("a", i) for i in drawn] + [("b", i) for i in drawn if i != "img01"]
    )
    assert Image.open(sheet).size[1] > 300
    assert draw_contact_sheet(tmp_path / "a" / "explanations") is None


def test_a_job_returns_what_a_search_asks_for():
    summary = {"mean": {"p_kept": 0.9, "area": 0.25, "p_removed": None}}
    assert optimized_values(summary, "p_kept") == 0.9
    assert optimized_values(summary, ["area", "p_removed"]) == [0.25, None]
    assert optimized_values({"mean": {}}, "area") is None
    check_optimized_metric(["area", "p_kept"])
    assert optimized_values(summary, ["area"]) == 0.25
    for wrong in ("p_keep", ["area", "size"], [], None):
        with pytest.raises(ValueError, match="p_original, p_kept, p_removed, area"):
            check_optimized_metric(wrong)


def test_experiments_that_share_maps_do_not_name_them(tmp_path):
    for store in jobs(
        tmp_path,
        a=["experiment=chang2019_fig8", "preset=fido_ca"],
        b=["experiment=chang2019_table1", "preset=realtime"],
    ):
        save(store, 0, torch.rand(1, 48, 64))
    assert list(sweep_stores(tmp_path)) == ["preset=fido_ca", "preset=realtime"]


def test_no_run_is_lost_for_its_name(tmp_path):
    for sweep, limit in (("one", 9), ("other", 5)):
        lime, ca = ["preset=lime", f"data.limit={limit}"], ["preset=ca", f"data.limit={limit}"]
        for store in jobs(tmp_path / sweep, a=lime, b=ca):
            save(store, 0, torch.rand(1, 48, 64))
    list(jobs(tmp_path / "one" / "more", a=["preset=ca", "data.limit=9"]))
    names = {
        name: str(s.folder.relative_to(tmp_path)) for name, s in sweep_stores(tmp_path).items()
    }
    assert names == {
        "preset=lime data.limit=9": "one/a",
        "preset=lime data.limit=5": "other/a",
        "preset=ca data.limit=5": "other/b",
        "preset=ca data.limit=9 (one/b)": "one/b",
        "preset=ca data.limit=9 (one/more/a)": "one/more/a",
    }


def test_numbers_of_counterfactuals_are_returned_by_methods_that_make_some():
    cfg = OmegaConf.create({"target": "second", "optimized_metric": ["flipped", "l1"]})
    check_optimized_metric(cfg.optimized_metric)
    check_counterfactual(cfg, makes_counterfactuals=True)
    with pytest.raises(ValueError, match="flipped is of counterfactual images"):
        check_counterfactual(cfg, makes_counterfactuals=False)
    cfg.target = "predicted"
    with pytest.raises(ValueError, match="target=second"):
        check_counterfactual(cfg, makes_counterfactuals=True)


def test_target_classes_are_names_or_indices():
    cfg = OmegaConf.create({"target": "second", "target_classes": ["dog", 2], "target_pairs": None})
    assert target_choice(cfg, ["cat", "dog", "bird"]).among == [1, 2]
    assert target_choice(cfg, ["2", "dog", "bird"]).among == [1, 0]
    cfg.target, cfg.target_pairs, cfg.target_kind = "pairs", [["cat", "dog", "near"]], "near"
    assert target_choice(cfg, ["cat", "dog", "bird"]).pairs == {0: 1}
    cfg.target_classes = ["dgo"]
    with pytest.raises(ValueError, match="dog"):
        target_choice(cfg, ["cat", "dog", "bird"])
