"""Every store is scored with the classifier that it explains, and every result has a line."""

import pandas as pd
import pytest
import torch
from analytic import box_map, explanation, share_classifier
from configurations import command_config
from noise_images import BLACK, BOX, SIZE, by_image, noise, sample
from planted import PLANTED, box_region, planted_sample

from fido.app.evaluate import evaluation_of_stores
from fido.app.metrics import MetricBuilder
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.frame import score_frame, wide
from fido.evaluation.parts import classifier_names, parts_by_classifier
from fido.evaluation.stored_explanations import StoredExplanations
from fido.evaluation.summary import is_reference, summarise
from fido.metrics.deletion import Deletion
from fido.metrics.localization import Localization
from fido.metrics.sensitivity import Sensitivity
from fido.metrics.subjects import ComparedRows
from fido.records import Explanation
from fido.report.files import write_evaluation
from fido.runs.store import ResultsStore

ELSEWHERE = (40, 20, 56, 36)
CLASSIFIERS = {
    "left": {"_target_": "planted.left", "size": [48, 64]},
    "right": {"_target_": "planted.right", "size": [48, 64]},
}
BOXES = {"left": BOX, "right": ELSEWHERE}


def store_of(folder, which, ids=range(4), seeds=(0,), targets=(0,)):
    """Explains the box of one of the two classifiers perfectly."""
    store = ResultsStore(folder, {"classifier": CLASSIFIERS[which]})
    for i in ids:
        for seed in seeds:
            for target in targets:
                one = sample(i)
                saliency = box_map(BOXES[which], SIZE) + 0.01 * noise(i, seed)
                result = Explanation(one.id, target, saliency, seed=seed)
                row = {"id": one.id, "status": "explained", "label": 0, "target": target}
                store.save(one, result, row | {"predicted": 0})
    return store


def two_classifiers(settings):
    """Deletion with the classifier of these settings; localization needs none."""
    which = "left" if settings is None else settings["_target_"].split(".")[1]
    deletion = Deletion(share_classifier(BOXES[which], SIZE), BLACK, 256)
    return {"deletion": deletion, "localization": two_classifiers.shared}, {"deletion": settings}


two_classifiers.shared = Localization()


def evaluation(stores, folder, groups=None, own=True, build=two_classifiers, reference=()):
    compared = ComparedRows(list(stores), groups=groups or {}, reference_rows=reference)
    stored = StoredExplanations(stores)
    return Evaluation(parts_by_classifier(stored, compared, build, own), stored, folder)


@pytest.fixture
def stores(tmp_path):
    return {which: store_of(tmp_path / which, which) for which in CLASSIFIERS}


def test_a_store_is_scored_with_the_classifier_that_it_explains(stores, tmp_path):
    results = evaluation(stores, tmp_path / "own").run()
    for row in stores:  # all evidence goes in the first of twelve steps
        for values in by_image(results, "deletion", row).values():
            assert values["auc"] < 0.05
    wrong = evaluation(stores, tmp_path / "one", own=False).run()
    assert all(v["auc"] < 0.05 for v in by_image(wrong, "deletion", "left").values())
    assert all(v["auc"] > 0.15 for v in by_image(wrong, "deletion", "right").values())


def test_rows_without_an_explainer_are_scored_once_a_classifier(stores, tmp_path):
    one = evaluation(stores, tmp_path / "out", reference=("Full", "Random map"))
    results = one.run()
    assert one.rows("deletion") == ["Random map (left)", "Random map (right)", "left", "right"]
    assert one.rows("localization") == ["Full", "Random map", "left", "right"]
    left, right = (by_image(results, "deletion", f"Random map ({w})") for w in CLASSIFIERS)
    assert left["img01"]["auc"] != right["img01"]["auc"]
    summaries = summarise(results, score_frame(results))
    assert [summary.baseline for summary in summaries] == ["left", "left"]
    assert is_reference("Random map (left)", summaries[0].metric)
    assert one.classifiers() == {"left": "left", "right": "right"}
    write_evaluation(tmp_path / "out", one, results)
    tables = (tmp_path / "out" / "tables.md").read_text()
    assert "each is scored with its own:\n\n- left: left\n- right: right\n" in tables


def test_a_row_without_an_explainer_has_the_images_of_all_classifiers(tmp_path):
    stores = {
        "left": store_of(tmp_path / "left", "left", range(3)),
        "right": store_of(tmp_path / "right", "right", range(1, 5)),
    }
    results = evaluation(stores, tmp_path / "out", reference=("Full",)).run()
    assert list(by_image(results, "localization", "Full")) == [f"img{i:02d}" for i in range(5)]
    assert list(by_image(results, "localization", "right")) == [f"img{i:02d}" for i in range(1, 5)]


def test_maps_for_different_classifiers_are_compared(stores, tmp_path):
    results = evaluation(
        stores,
        tmp_path,
        {"both": ["left", "right"]},
        build=lambda settings: ({"sensitivity": Sensitivity()}, {}),
    ).run()
    assert len(by_image(results, "sensitivity", "both")) == 4


def test_classifiers_are_called_by_what_tells_them_apart():
    nets = [{"_target_": "fido.a.resnet", "layers": n, "size": [8, 8]} for n in (1, 2)]
    assert classifier_names(nets) == ["resnet layers=1", "resnet layers=2"]
    assert classifier_names([*nets[:1], None]) == [
        "resnet layers=1 size=[8, 8]",
        "default classifier",
    ]
    assert classifier_names(nets[:1]) == ["resnet"]


def test_targets_and_seeds_of_one_store_have_a_line_each(tmp_path):
    stores = {
        "many": store_of(tmp_path / "many", "left", seeds=(0, 1, 2), targets=(0, 1)),
        "one": store_of(tmp_path / "one", "left"),
    }
    one = evaluation(stores, tmp_path / "out", {"all": list(stores)})
    results = one.run()
    write_evaluation(tmp_path / "out", one, results)
    lines = pd.read_csv(tmp_path / "out" / "scores.csv").query("row == 'many'")
    keys = [*zip(lines["id"], lines["target"], lines["seed"], strict=True)]
    assert keys == [(f"img0{i}", t, s) for i in range(4) for t in (0, 1) for s in (0, 1, 2)]
    assert lines["deletion.auc"].notna().all()
    by_target = lines.groupby("target")["deletion.auc"].mean()
    assert by_target[0] < 0.05 < 0.9 < by_target[1]  # the other class is there once the box is gone
    # Statistics are over images: six results of one image are not six images.
    (deletion, _) = summarise(results, score_frame(results))
    estimate = deletion.rows["many"].estimates["auc"]
    assert estimate.n == deletion.rows["many"].images == 4
    assert estimate.mean == pytest.approx(lines.groupby("id")["deletion.auc"].mean().mean())
    assert deletion.rows["one"].differences["auc"].n == 4


def test_runs_that_differ_in_the_seed_are_compared_and_unequal_numbers_are_counted(tmp_path):
    stores = {f"seed={s}": store_of(tmp_path / f"{s}", "left", seeds=(s,)) for s in (0, 1)}
    build = lambda settings: ({"sensitivity": Sensitivity()}, {})  # noqa: E731
    results = evaluation(stores, tmp_path, {"seeds": list(stores)}, build=build).run()
    assert len(by_image(results, "sensitivity", "seeds")) == 4
    assert results["sensitivity"]["seeds"].seeds.tolist() == [1] * 4
    stores["both"] = store_of(tmp_path / "both", "left", range(3), seeds=(0, 1))
    one = evaluation(stores, tmp_path, {"seeds": list(stores)}, build=build)
    assert len(one.run()["sensitivity"]["seeds"].scores) == 0
    assert one.counts()["seeds"] == {"left out: not in all runs compared": 4}


def test_the_frame_and_its_files_hold_the_same_numbers(stores, tmp_path):
    one = evaluation(stores, tmp_path / "out", reference=("Full", "Random map"))
    results = one.run()
    frame = write_evaluation(tmp_path / "out", one, results).frame
    assert list(frame.columns) == ["row", "id", "target", "seed", "metric", "column", "value"]
    long = pd.read_csv(tmp_path / "out" / "scores_long.csv")
    assert long["value"].equals(frame["value"])
    assert long.astype(str)[["row", "id"]].equals(frame.astype(str)[["row", "id"]])
    lines = pd.read_csv(tmp_path / "out" / "scores.csv").set_index(["row", "id"])
    for row in ("left", "Full"):
        for image_id, values in by_image(results, "localization", row).items():
            for name, value in values.items():
                cell = lines.loc[(row, image_id), f"localization.{name}"]
                assert cell == pytest.approx(value, abs=0, nan_ok=True)
    assert lines.loc[("Full", "img01")].filter(like="deletion").isna().all()
    assert len(wide(frame)) == len(lines)


def test_the_configuration_builds_each_classifier_once(tmp_path):
    other = [*PLANTED, "+classifier.network.box=[30,20,44,36]"]
    own = [*PLANTED, "trust=true", "metrics=[deletion,localization]"]
    cfg = command_config("evaluate", "output_dir=x", *own)
    far = command_config("evaluate", "output_dir=x", *other)
    cfg.metrics.deletion.pixels_per_step = 64
    settings = {"near": MetricBuilder(cfg, torch.device("cpu")).default}
    settings["far"] = MetricBuilder(far, torch.device("cpu")).default
    stores = {}
    for name, classifier in settings.items():
        stores[name] = ResultsStore(tmp_path / name, {"classifier": classifier})
        one = planted_sample()
        row = {"id": one.id, "status": "explained", "label": 1, "target": 1, "predicted": 1}
        box = box_region() if name == "near" else box_region(box=(30, 20, 44, 36))
        stores[name].save(one, explanation(box.float(), one.id, 1), row)
    device = torch.device("cpu")
    whole = evaluation_of_stores(cfg, None, device, stores, {}, tmp_path / "out")
    near, right = whole.parts
    assert near.metrics["localization"] is right.metrics["localization"]
    assert near.metrics["deletion"].classifier is not right.metrics["deletion"].classifier
    assert near.classifier != right.classifier
    results = whole.run()
    assert by_image(results, "deletion", "near")["planted"]["auc"] < 0.4
    assert len(whole.rows("deletion")) == 4
    broken = ResultsStore(tmp_path / "broken", {"classifier": {"_target_": "nowhere.Net"}})
    with pytest.raises(ValueError, match=r"cannot be built: .*own_classifier=false"):
        evaluation_of_stores(cfg, None, device, {"broken": broken}, {}, tmp_path)
