"""Quality of infills: against loops, for perfect and known infillers, and the whole command."""

import csv
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import warm_process
from configurations import command_config
from noise_images import numbers
from PIL import Image
from small_networks import TwoLayers
from torch import nn

from fido.classifiers.base import Classifier
from fido.classifiers.layers import DeepFeatures
from fido.evaluation.infills import fill_images
from fido.infillers.base import Infiller, per_mask
from fido.infillers.mean import MeanInfiller
from fido.infillers.perturbed_image import EditedImage
from fido.infillers.random import RandomInfiller
from fido.masks.distributions.bernoulli import BernoulliPixels
from fido.masks.distributions.shapes import CentredBox, ObjectBox
from fido.metrics.functional.feature_distance import (
    feature_distance,
    frechet_distance,
)
from fido.metrics.functional.image_similarity import PSNR_CEILING, hole_l1, psnr, ssim
from fido.metrics.infill_probability import InfillProbability
from fido.metrics.infill_quality import InfillQuality
from fido.records import Sample

ROOT = Path(__file__).resolve().parents[2]
SIZE = (40, 48)
BLACK = MeanInfiller((0.0, 0.0, 0.0))
MASKS = {"pixels": BernoulliPixels(0.5), "box": CentredBox(0.5), "object": ObjectBox("filled")}


class Perfect(Infiller):
    """Knows what was there."""

    def infill(self, image, keep, noise=None):
        return per_mask(image, self.repeats(image, keep))


def tiny_classifier():
    torch.manual_seed(0)
    return Classifier(TwoLayers(), SIZE, (0.5,) * 3, (0.5,) * 3, ["a", "b"])


def photo(number=0, size=SIZE, boxes=((4.0, 6.0, 20.0, 30.0),)):
    generator = torch.Generator().manual_seed(number)
    coarse = torch.rand(1, 3, 5, 6, generator=generator)
    image = nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)[0]
    return Sample(f"photo{number}", image, 0, torch.tensor(boxes) if boxes else None, 0)


def quality(masks=None, **options):
    return InfillQuality(tiny_classifier(), ["first", "second"], masks or MASKS, **options)


def test_a_perfect_infiller_is_at_distance_nothing():
    metric = quality({"pixels": BernoulliPixels(0.5), "box": CentredBox(0.5)})
    for number in range(4):
        metric.update(photo(number, (176, 180)), Perfect())
    for values in numbers(metric).values():
        for mask in ("pixels", "box"):
            assert values[f"{mask}_l1"] == 0
            assert values[f"{mask}_psnr"] == PSNR_CEILING
            assert values[f"{mask}_ssim"] == pytest.approx(1, abs=1e-6)
            assert values[f"{mask}_ms_ssim"] == pytest.approx(1, abs=1e-6)
            assert values[f"{mask}_feature"] == 0
    set_values = metric.set_values(metric.scores())
    assert set_values["box/frechet"] == pytest.approx(0, abs=1e-6)
    assert set_values["box/n"] == 4


def test_numbers_of_one_image_equal_a_loop():
    sample, metric = photo(), quality({"box": CentredBox(0.5)})
    values = metric.score(sample, BLACK).values
    edited, errors, squares = sample.image.clone(), [], []
    for y in range(10, 30):  # 20 x 20 of 40 x 48 pixels, centred
        for x in range(14, 34):
            for channel in range(3):
                errors.append(abs(float(sample.image[channel, y, x])))
                squares.append(errors[-1] ** 2)
                edited[channel, y, x] = 0
    assert values["box_dropped"] == pytest.approx(400 / (40 * 48))
    assert values["box_l1"] == pytest.approx(sum(errors) / len(errors), abs=1e-6)
    error = sum(squares) / (3 * 40 * 48)
    assert values["box_psnr"] == pytest.approx(-10 * math.log10(error), abs=1e-4)
    network, distance = metric.classifier, []
    first = network.network.first
    a, b = (torch.relu(first((i.unsqueeze(0) - 0.5) / 0.5)) for i in (sample.image, edited))
    layers = [
        (first((sample.image.unsqueeze(0) - 0.5) / 0.5), first((edited.unsqueeze(0) - 0.5) / 0.5)),
        (network.network.second(a), network.network.second(b)),
    ]
    for one, other in layers:
        cosine = torch.cosine_similarity(one.double(), other.double(), dim=1)
        distance.append(float((1 - cosine).mean()))
    assert values["box_feature"] == pytest.approx(sum(distance) / 2, abs=1e-6)
    assert math.isnan(values["box_ms_ssim"])  # smaller than 176 pixels
    assert -1 < values["box_ssim"] < 1


def test_similarities_are_measured_row_by_row():
    a, b = photo(1).image.unsqueeze(0), photo(2).image.unsqueeze(0)
    both = torch.cat([a, b])
    for measure in (psnr, ssim):
        assert measure(a, both).tolist() == pytest.approx(
            [float(measure(a, a)), float(measure(a, b))], abs=1e-5
        )
    keep = torch.ones(2, 1, *SIZE, dtype=torch.bool)
    keep[1, :, :10] = False
    nothing, something = hole_l1(a, both, keep).tolist()
    assert math.isnan(nothing)
    assert something == pytest.approx(float((a - b)[..., :10, :].abs().mean()), abs=1e-6)


def test_nothing_dropped_is_nothing_measured():
    masks = {
        "none": BernoulliPixels(1.0),
        "all": BernoulliPixels(0.0),
        "object": ObjectBox("filled"),
    }
    metric = quality(masks)
    samples = [
        photo(number, boxes=None if number == 0 else ((0.0, 0.0, 9.0, 9.0),)) for number in range(4)
    ]
    for sample in samples:
        metric.update(sample, BLACK)
    rows = numbers(metric)
    assert all(math.isnan(rows[s.id][f"none_{n}"]) for s in samples for n in ("l1", "ssim"))
    assert math.isnan(rows["photo0"]["object_l1"])
    assert rows["photo1"]["object_l1"] > 0
    assert rows["photo1"]["all_dropped"] == 1
    set_values = metric.set_values(metric.scores())
    assert "none/frechet" not in set_values
    assert set_values["object/n"] == 3
    assert set_values["all/n"] == 4


def test_split_and_merged_equal_the_whole():
    whole, left, right = quality(), quality(), quality()
    for number in range(4):
        whole.update(photo(number), RandomInfiller())
        (left if number % 2 else right).update(photo(number), RandomInfiller())
    left.merge_state(right)
    # As text: NaN (MS-SSIM of small images) does not equal itself.
    assert json.dumps(numbers(left)) == json.dumps(numbers(whole))
    assert left.set_values(left.scores()) == whole.set_values(whole.scores())
    merged, direct = left.compute(), whole.compute()
    torch.testing.assert_close(merged, direct, rtol=0, atol=0, equal_nan=True)


def test_a_mask_has_the_same_fill_whatever_the_others_and_in_every_metric():
    alone = quality({"box": CentredBox(0.5)}).score(photo(), RandomInfiller()).values
    among = quality().score(photo(), RandomInfiller()).values
    assert {k: pytest.approx(among[k], abs=1e-6, nan_ok=True) for k in alone} == alone
    classifier = tiny_classifier()
    p = InfillProbability(classifier, MASKS).score(photo(), RandomInfiller()).values
    infillers = {"random": RandomInfiller(), "black": BLACK}
    (fills,) = fill_images([photo()], ("pixels", MASKS["pixels"]), infillers, classifier)
    assert fills.probability["random"] == pytest.approx(p["pixels_probability"], abs=1e-6)
    l1 = hole_l1(fills.image[None], fills.filled["random"][None], fills.keep[None])
    assert float(l1) == pytest.approx(among["pixels_l1"], abs=1e-6)
    bare = fill_images([photo(boxes=None)], ("object", MASKS["object"]), infillers, classifier)
    assert bare == []


def test_frechet_distance_of_normal_sets_has_a_closed_form():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(500, 5, generator=generator, dtype=torch.float64)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 2) == pytest.approx(5 * 4)  # moved by 2 in 5 dimensions
    # Scaling by 3: tr(C + 9 C - 6 C) = 4 tr C, and the mean moves by 2 m.
    moved = 4 * float(torch.cov(a.T).trace()) + 4 * float(a.mean(0).square().sum())
    assert frechet_distance(a, 3 * a) == pytest.approx(moved)
    scipy = pytest.importorskip("scipy.linalg")
    b = torch.randn(300, 5, generator=generator, dtype=torch.float64) @ torch.rand(
        5, 5, generator=generator, dtype=torch.float64
    )
    ca, cb = (np.cov(x.numpy().T) for x in (a, b))
    oracle = np.trace(ca + cb - 2 * scipy.sqrtm(ca @ cb).real)
    oracle += float((a.mean(0) - b.mean(0)).square().sum())
    assert frechet_distance(a, b) == pytest.approx(oracle, rel=1e-8)
    few = a[:3]  # fewer vectors than dimensions
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="two vectors"):
        frechet_distance(a[:1], a)


def test_features_are_those_of_the_named_layers():
    classifier = tiny_classifier()
    first, second = DeepFeatures(classifier, ["first", "second"])(photo().image.unsqueeze(0))
    assert first.shape[1] == 4
    assert second.shape[1] == 6
    zeros = [torch.zeros(1, 3, 2, 2)]
    assert float(feature_distance(zeros, zeros)) == 0
    with pytest.raises(ValueError, match=r"no layer third; the network has: first, second"):
        DeepFeatures(classifier, ["third"])
    with pytest.raises(ValueError, match="head does not give feature maps"):
        DeepFeatures(classifier, ["head"])(photo().image.unsqueeze(0))


def test_the_command_measures_two_photos(tmp_path):
    lines = ["file,class_index,xmin,ymin,xmax,ymax"]
    (tmp_path / "data" / "images").mkdir(parents=True)
    for number in range(2):
        pixels = (photo(number).image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "data" / "images" / f"{number}.png")
        lines.append(f"{number}.png,{number},0.1,0.1,0.6,0.7")
    (tmp_path / "data" / "boxes.csv").write_text("\n".join(lines) + "\n")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "FIDO", "HYDRA"))}

    done = warm_process.run(
        [
            sys.executable,
            str(ROOT / "evaluate.py"),
            "experiment=infillers",
            "classifier=custom",
            "classifier.network._target_=small_networks.TwoLayers",
            "classifier.size=[40,48]",
            "classifier.class_names=[a,b]",
            "classifier.crop_fraction=1.0",
            "data.root=data",
            "data.resize=squash",
            "logger=none",
            "~infiller@infillers.vae",
            "~infillers.ca",
            "mask_distributions@metrics.infill_quality.mask_distributions=figures",
            "mask_distributions@metrics.infill_probability.mask_distributions=pixels",
            "hydra.run.dir=out",
        ],
        tmp_path,
        {**clean, "PYTHONPATH": str(ROOT / "tests" / "helpers"), "HOME": "/nonexistent"},
    )
    assert done.returncode == 0, done.stderr
    assert "| cells56_30 | 2 |" in done.stdout
    out = tmp_path / "out"
    with (out / "scores.csv").open(newline="") as text:
        rows = {(row["row"], row["id"]): row for row in csv.DictReader(text)}
    assert {row for row, _ in rows} == {"input", "mean", "blur", "random", "local"}
    sample = Image.open(tmp_path / "data" / "images" / "0.png")
    image = torch.from_numpy(np.array(sample)).permute(2, 0, 1) / 255
    kept = CentredBox(0.5).sample(1, SIZE, torch.Generator())
    colour = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    expected = float(hole_l1(image[None], colour.expand_as(image)[None], kept))
    assert float(rows["mean", "0"]["infill_quality.box_l1"]) == pytest.approx(expected, abs=1e-5)
    summary = json.loads((out / "summary.json").read_text())["metrics"]["infill_quality"]
    assert summary["baseline"] == "local"
    assert summary["rows"]["mean"]["set_values"]["box/n"] == 2
    assert summary["rows"]["random"]["minus_baseline"]["box_l1"]["n"] == 2
    for name in ("infills_box", "infills_cells56_30", "infill_quality.box"):
        assert Image.open(out / "figures" / f"{name}.png").size[0] > 300
    tables = (out / "by_mask.md").read_text()
    assert "frechet distance of the sets" in tables
    assert "time of a fill, 8 masks at once" in tables


@pytest.mark.parametrize("metrics", ["infill_quality", "infill_probability"])
def test_each_metric_can_be_measured_alone(metrics):
    line = ["experiment=infillers", "output_dir=out", "data.root=x", f"metrics=[{metrics}]"]
    cfg = command_config("evaluate", *line)
    assert list(cfg.infillers) == ["mean", "blur", "random", "local", "vae", "ca"]
    assert list(cfg.metrics) == [metrics]
    assert len(cfg.metrics[metrics].mask_distributions) == 10
    assert cfg.evaluation.compare_to == "local"


def test_edited_images_leave_kept_pixels_alone():
    keep = BernoulliPixels(0.5).sample(1, SIZE, torch.Generator().manual_seed(0))
    edited = EditedImage(tiny_classifier(), RandomInfiller(), photo(), "holes").images(keep)
    same = (edited[0] == photo().image).all(0, keepdim=True)
    assert same[keep[0]].all()
