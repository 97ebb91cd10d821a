"""What figures of Agarwal & Nguyen 2020 are made of, beside tables."""

import csv
import math
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import warm_process
from command_line import ROOT, environment
from planted import BOX, PLANTED, box_region, planted_classifier, planted_sample, write_photo

from fido.data.classes import class_indices
from fido.data.folder import FolderPhotos
from fido.evaluation.extremes import extremes
from fido.evaluation.object_masks import ObjectMasks
from fido.evaluation.perturbed_samples import perturbed_samples
from fido.infillers.mean import MeanInfiller
from fido.masks.distributions.patches import SlidingPatches
from fido.masks.distributions.shapes import ObjectBox
from fido.metrics.functional.object_region import BoxRegion
from fido.metrics.label_histogram import LabelHistogram
from fido.metrics.score_set import ScoreSet
from fido.metrics.sensitivity import Sensitivity

GREY = MeanInfiller((0.2, 0.2, 0.2))


def test_a_patch_slides_along_the_middle_row():
    """Fig. 7: places 9, 24, 36, 44 and 53 of the 58 of a patch of 53 pixels and a stride of 3."""
    keep = SlidingPatches().sample(6, (224, 224), torch.Generator())
    places = [(~mask[0]).nonzero().amin(0).tolist() for mask in keep]
    assert places == [[3 * 29, 3 * place] for place in (9, 24, 36, 44, 53, 9)]
    assert ((~keep).sum((1, 2, 3)) == 53 * 53).all()
    with pytest.raises(ValueError, match="does not fit"):
        SlidingPatches().sample(1, (40, 48), torch.Generator())


@pytest.mark.parametrize("part", ["filled", "kept"])
def test_an_object_is_masked_wherever_its_region_comes_from(part):
    sample, drawn = planted_sample(), torch.Generator()
    masks = ObjectMasks(BoxRegion(), part).sample(2, (40, 48), drawn, sample)
    assert torch.equal(masks, ObjectBox(part).sample(2, (40, 48), drawn, sample))

    class Nowhere:
        def find(self, sample):
            return torch.zeros(40, 48, dtype=torch.bool)

    assert ObjectMasks(Nowhere(), part).sample(1, (40, 48), drawn, sample) is None
    with pytest.raises(ValueError, match="filled or kept"):
        ObjectMasks(BoxRegion(), "around")


def test_perturbed_samples_come_with_what_the_classifier_says():
    class Halves:
        def sample(self, n, size, generator, photo=None):
            return torch.stack([~box_region(), box_region(box=(30, 0, 48, 40)).logical_not()])

    found = perturbed_samples(
        planted_sample(), ("halves", Halves()), {"sp": GREY}, planted_classifier(), count=2
    )
    assert found.label == "bright"
    assert found.probability > 0.99
    assert found.seen == {"sp": ["dark", "bright"]}  # without its box; without something else
    assert found.probabilities["sp"][0] < 0.01 < 0.99 < found.probabilities["sp"][1]
    assert found.images["sp"].shape == (2, 3, 40, 48)
    nothing = perturbed_samples(
        planted_sample(), ("none", ObjectMasks(type("N", (), {"find": lambda *_: None})())),
        {"sp": GREY}, planted_classifier(),
    )  # fmt: skip
    assert nothing is None


def test_bars_are_called_by_their_labels():
    metric = LabelHistogram(planted_classifier(), segments=6, samples=40)
    scores = ScoreSet.collate([("planted", metric.score(planted_sample(), GREY))])
    names, shares = metric.curve_names(scores), metric.summary_curve(scores)
    counts = dict(zip(["dark", "bright"], scores.curve[0] / 40, strict=True))
    assert sorted(names) == ["bright", "dark"]
    assert shares.tolist() == [counts[name] for name in names]
    assert shares[0] >= shares[1]
    assert metric.curve_names(ScoreSet([], {})) is None


def test_the_spread_over_pairs_is_the_root_of_the_mean_variance():
    """Tables S1 and S2: "±" as the code of Bansal et al. 2020 computes it."""
    generator = torch.Generator().manual_seed(0)
    metric = Sensitivity(data_range=1.0)
    variances = []
    for image in ("a", "b"):
        maps = [torch.rand(1, 48, 48, generator=generator) for _ in range(3)]
        metric.update(image, maps)
        pairs = [(0, 1), (0, 2), (1, 2)]
        each = [metric.score(image, [maps[i], maps[j]]).values["ssim"] for i, j in pairs]
        assert all(
            metric.score(image, [maps[i], maps[j]]).values["ssim_var"] == 0 for i, j in pairs
        )
        variances.append(np.var(each))
    values = metric.set_values(metric.scores())
    assert values["ssim_std"] == pytest.approx(math.sqrt(np.mean(variances)))
    assert set(values) == {"ssim_std", "hog_std", "spearman_std"}


def frame():
    return pd.DataFrame(
        [
            {"metric": "sensitivity", "row": row, "id": f"{i}", "column": "ssim", "value": value}
            for i in range(6)
            for row, value in (("lime", 0.5), ("lime_g", [0.9, 0.1, 0.5, 0.7, 0.4, 0.2][i]))
        ]
    )


def test_best_and_worst_images_of_two_rows():
    best, worst = extremes(frame(), "sensitivity", "ssim", "lime_g", "lime", 2)
    assert (best, worst) == (["0", "3"], ["1", "5"])
    with pytest.raises(ValueError, match="6 images"):
        extremes(frame(), "sensitivity", "ssim", "lime_g", "lime", 4)
    with pytest.raises(ValueError, match="'sp' is no row"):
        extremes(frame(), "sensitivity", "ssim", "sp", "lime", 1)
    with pytest.raises(ValueError, match=r"there are sensitivity\.ssim"):
        extremes(frame(), "sensitivity", "iou", "lime_g", "lime", 1)


def test_the_script_writes_ids_that_a_source_reads(tmp_path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("script", ROOT / "scripts/best_and_worst.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    frame().to_csv(tmp_path / "scores_long.csv", index=False)
    ids = tmp_path / "ids.txt"
    line = [str(tmp_path / "scores_long.csv"), "sensitivity.ssim", "lime_g", "lime", str(ids)]
    script.main([*line, "--count", "2"])
    for i in range(6):
        write_photo(tmp_path / "photos" / f"{i}.png")
    photos = FolderPhotos(str(tmp_path / "photos"), size=(40, 48), ids=str(ids))
    assert [entry.id for entry in photos.selected()] == ["0", "3", "1", "5"]
    with pytest.raises(SystemExit):
        script.main([*line, "--count", "9"])
    with pytest.raises(FileNotFoundError, match="no such file"):
        FolderPhotos(str(tmp_path), size=(40, 48), ids="nowhere.txt")


def test_birds_are_those_below_bird_in_wordnet():
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    with (ROOT / "fido/data/class_groups/birds.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 59
    for row in rows:
        index = int(row["index"])
        assert info.index_to_label_name(index) == row["wnid"]
        assert info.index_to_description(index).split(",")[0] == row["name"]
    assert class_indices("birds") == frozenset(int(row["index"]) for row in rows)
    # cock; hen; a bird is no lizard (common iguana)
    assert class_indices(["n01514668", 8, "9"]) == {7, 8, 9}
    assert 39 not in class_indices("birds")
    for wrong in ("bird", "n99999999"):
        with pytest.raises(ValueError, match=r"no group \(birds\)"):
            class_indices(wrong)


def evaluate(folder, *overrides):
    line = [sys.executable, ROOT / "evaluate.py", *PLANTED, "logger=none", *overrides]
    return warm_process.run(line, folder, environment())


def test_fig_8_names_its_bars_and_makes_pages(tmp_path):
    left, top, right, bottom = BOX
    lines = ["file,class_index,xmin,ymin,xmax,ymax"]
    for name in ("one", "two"):
        write_photo(tmp_path / "data" / "images" / f"{name}.png")
        box = (left / 48, top / 40, right / 48, bottom / 40)
        lines.append(f"{name}.png,1,{','.join(map(str, box))}")
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(lines) + "\n")
    run = evaluate(
        tmp_path,
        "experiment=agarwal2020_fig8", "data=boxes", "data.root=data", "data.resize=squash",
        "infiller@generative_infiller=local", "metrics.label_histogram.samples=6",
        "metrics.label_histogram.segments=6", "pages.images=1", "pages.samples=3",
        "hydra.run.dir=out",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    pages = sorted((tmp_path / "out" / "pages").glob("*.png"))
    assert [page.name for page in pages] == ["superpixels_one.png"]
    assert (tmp_path / "out" / "figures" / "label_histogram.names.png").stat().st_size > 5_000
    with (tmp_path / "out" / "curves" / "label_histogram.csv").open(newline="") as table:
        named = [(row["row"], row["name"]) for row in csv.DictReader(table)]
    assert {name for _, name in named} == {"bright", "dark"}
    assert {row for row, _ in named} == {"lime", "lime_g"}
