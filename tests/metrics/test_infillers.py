"""Metrics whose rows are infillers, and the regions that they remove."""

import math
from collections import Counter

import pytest
import torch
from analytic import Share, share_classifier, white_sample
from torch import nn
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

from fido.classifiers.base import Classifier
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.distributions.bernoulli import BernoulliPixels, BernoulliSuperpixels
from fido.masks.distributions.shapes import ObjectBox
from fido.masks.superpixels import superpixels
from fido.metrics.feature_removal import FeatureRemoval
from fido.metrics.functional.image_similarity import ms_ssim, ssim_and_ms_ssim
from fido.metrics.functional.object_region import BoxRegion, SegmentedRegion
from fido.metrics.infill_probability import InfillProbability
from fido.metrics.label_histogram import LabelHistogram
from fido.metrics.patch_profile import PatchProfile, patch_keeps
from fido.metrics.score_set import ScoreSet
from fido.records import Sample

SIZE = (32, 48)
ALL = (0, 0, 48, 32)
BLACK, WHITE = MeanInfiller((0.0, 0.0, 0.0)), MeanInfiller((1.0, 1.0, 1.0))


def photo(size=SIZE, image_id="photo", boxes=None):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 4, 6, generator=generator)
    image = nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)[0]
    return Sample(image_id, image, 0, boxes, 0)


def test_probability_after_infilling_is_the_kept_share():
    # p = share of white pixels: black infilling leaves exactly the kept share.
    metric = InfillProbability(
        share_classifier(ALL, SIZE), {"holes": BernoulliPixels(0.3)}, masks=4
    )
    sample = white_sample(SIZE)
    black = metric.score(sample, BLACK).values
    assert black["holes_probability"] == pytest.approx(1 - black["holes_dropped"], abs=1e-5)
    assert black["holes_dropped"] == pytest.approx(0.7, abs=0.03)
    assert metric.score(sample, None).values["holes_probability"] == pytest.approx(1, abs=1e-5)
    white = metric.score(sample, WHITE).values
    assert white["holes_probability"] == pytest.approx(1, abs=1e-5)
    assert white["holes_dropped"] == black["holes_dropped"]  # the same masks for every infiller
    nameless = Sample("x", sample.image, None, None, None)
    assert math.isnan(metric.score(nameless, BLACK).values["holes_probability"])


def test_an_infilled_row_does_not_depend_on_the_batch_it_came_in():
    def score(rows_per_pass):
        metric = InfillProbability(
            share_classifier(ALL, SIZE),
            {"holes": BernoulliPixels(0.5)},
            masks=7,
            rows_per_pass=rows_per_pass,
        )
        return metric.score(photo(), RandomInfiller()).values["holes_probability"]

    assert score(1) == pytest.approx(score(7), abs=1e-6)
    assert score(3) == pytest.approx(score(7), abs=1e-6)


def test_every_mask_distribution_has_columns_of_its_own():
    masks = {
        "holes": BernoulliPixels(0.3),
        "object": ObjectBox("filled"),
        "rest": ObjectBox("kept"),
    }
    metric = InfillProbability(share_classifier(ALL, SIZE), masks)
    alone = InfillProbability(share_classifier(ALL, SIZE), {"holes": BernoulliPixels(0.3)})
    boxes = [[0.0, 0.0, 24.0, 16.0]]  # a quarter of the image
    values = metric.score(white_sample(SIZE, boxes), BLACK).values
    assert values["object_probability"] == pytest.approx(0.75, abs=1e-5)
    assert values["rest_probability"] == pytest.approx(0.25, abs=1e-5)
    assert values["rest_dropped"] == pytest.approx(0.75)
    same = alone.score(white_sample(SIZE, boxes), BLACK).values
    assert values["holes_probability"] == same["holes_probability"]
    bare = metric.score(white_sample(SIZE), BLACK).values
    assert math.isnan(bare["object_probability"])
    assert bare["holes_probability"] == same["holes_probability"]
    assert [column.group for column in metric.columns] == [n for n in masks for _ in range(2)]


def test_superpixels_are_kept_or_dropped_whole():
    sample, generator = photo((64, 96)), torch.Generator().manual_seed(0)
    keep = BernoulliSuperpixels(20, keep=0.5).sample(200, (64, 96), generator, sample)
    segment = superpixels(sample.image, 20)
    shares = torch.stack([keep[:, 0, segment == i].float().mean(1) for i in segment.unique()], 1)
    assert set(shares.unique().tolist()) == {0, 1}
    assert shares.mean(0) == pytest.approx(torch.full((shares.shape[1],), 0.5), abs=0.15)
    with pytest.raises(ValueError, match="got 0"):
        BernoulliSuperpixels(0)


def test_feature_removal_sees_the_object_go():
    size = (176, 176)
    boxes = torch.tensor([[40.0, 40.0, 120.0, 120.0]])
    sample = Sample("bird", torch.ones(3, *size), 0, boxes, 0)
    classifier = Classifier(
        Share((40, 40, 120, 120), "log-odds"), size, (0.0,) * 3, (1.0,) * 3, ["bird", "none"]
    )
    classifier.network.register_forward_hook(lambda m, a, out: out - torch.tensor([5.0, 0.0]))
    metric = FeatureRemoval(classifier, BoxRegion())
    kept, gone = metric.score(sample, None).values, metric.score(sample, BLACK).values
    assert kept["accuracy"] == 1
    assert kept["ms_ssim"] == pytest.approx(1, abs=1e-5)
    assert gone["accuracy"] == 0
    assert gone["ms_ssim"] < 0.9
    assert gone["region"] == pytest.approx(6400 / 176**2)
    bare = Sample("bare", sample.image, 0, None, 0)
    assert math.isnan(metric.score(bare, BLACK).values["accuracy"])
    seen = []
    classifier.network.register_forward_pre_hook(lambda m, a: seen.append(a[0].shape[-2:]))
    half = Sample("half", torch.ones(3, 176, 200), 0, boxes, 0)
    assert metric.score(half, None).values["accuracy"] == 1
    assert seen == [torch.Size(size)]  # the independent classifier's size, not the image's


def test_lpips_takes_weights_from_torch_home_and_says_what_is_missing(tmp_path, monkeypatch):
    from urllib.error import URLError

    from torchvision.models import squeezenet1_1

    def offline(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"lpips=squeeze.*checkpoints"):
        FeatureRemoval(share_classifier(ALL, SIZE), BoxRegion(), lpips="squeeze")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    metric = FeatureRemoval(share_classifier(ALL, SIZE), BoxRegion(), lpips="squeeze")
    sample = photo((64, 64), boxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]))
    assert metric.score(sample, None).values["lpips"] == pytest.approx(0, abs=1e-6)
    assert metric.score(sample, BLACK).values["lpips"] > 0
    assert [column.name for column in metric.columns][:3] == ["accuracy", "ms_ssim", "lpips"]


def test_ms_ssim_needs_room_for_five_scales():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 1, 3, 176, 180, generator=generator)
    both = ms_ssim(a, torch.cat([a, b]))
    assert both.tolist()[0] == pytest.approx(1)
    assert float(both[1]) < 0.5
    assert ms_ssim(a[:, :, :175], b[:, :, :175]).isnan().all()


def test_similarities_that_share_a_scale_are_those_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 180, 203, generator=generator)
    edited = (image + 0.3 * torch.randn(3, 3, 180, 203, generator=generator)).clamp(0, 1)
    edited[2] = 1 - image[0]  # a negative contrast factor, which counts as 0
    one, several = ssim_and_ms_ssim(image, edited)
    for row in range(3):
        pair = edited[row : row + 1], image
        assert float(one[row]) == pytest.approx(
            float(structural_similarity_index_measure(*pair, data_range=1.0)), abs=1e-6
        )
        assert float(several[row]) == pytest.approx(
            float(multiscale_structural_similarity_index_measure(*pair, data_range=1.0)), abs=1e-6
        )
    assert float(several[2]) == 0


def test_segmented_region_is_where_the_network_says(tmp_path):
    from torchvision.models.segmentation import lraspp_mobilenet_v3_large

    torch.manual_seed(0)
    network = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=21)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    sample = photo((64, 64))
    found = [
        SegmentedRegion(
            str(tmp_path / "weights.pth"), "lraspp_mobilenet_v3_large", wanted=(index,)
        ).find(sample)
        for index in range(21)
    ]
    assert torch.equal(torch.stack(found).sum(0), torch.ones(64, 64))
    with pytest.raises(ValueError, match="no segmentation network"):
        SegmentedRegion(str(tmp_path / "weights.pth"), "deeplab")


def test_superpixels_are_numbered_without_gaps():
    where = superpixels(photo((64, 96)).image, 20)
    assert where.shape == (64, 96)
    assert where.unique().tolist() == list(range(int(where.max()) + 1))
    assert 8 <= int(where.max()) + 1 <= 40


def test_label_histogram_counts_what_a_loop_counts():
    # Three labels by how much of the picture is left.
    class Thirds(nn.Module):
        def forward(self, image):
            share = image.mean((1, 2, 3))
            return torch.stack([share, 0.9 - share, torch.full_like(share, 0.46)], 1)

    classifier = Classifier(Thirds(), SIZE, (0.0,) * 3, (1.0,) * 3, ["most", "least", "middle"])
    sample = Sample("w", photo().image * 0 + 1, 0, None, 0)
    metric = LabelHistogram(classifier, segments=12, samples=40)
    score = metric.score(sample, BLACK)

    from fido.runtime.noise import ImageNoise

    where = superpixels(sample.image, 12)
    kept = ImageNoise(0, ["w"], "lime").uniform(40, int(where.max()) + 1) < 0.5
    kept[0] = True
    labels = Counter()
    for row in kept:
        image = sample.image * row[where].float()
        labels[int(classifier(image.unsqueeze(0))[0].argmax())] += 1
    assert score.curve.tolist() == [labels[i] for i in range(3)]
    assert score.values == {"same": labels[0] / 40, "distinct": len(labels)}
    both = ScoreSet.collate([("w", score), ("v", score)])
    ordered = metric.summary_curve(both)
    assert ordered.tolist() == sorted((labels[i] / 40 for i in range(3)), reverse=True)
    assert metric.set_values(both)["top3"] == pytest.approx(1)


def test_patches_are_all_places_inside_the_image():
    keep = patch_keeps(10, 12, 4, 3)
    assert keep.shape == (3, 3, 10, 12)
    for i, top in enumerate((0, 3, 6)):
        for j, left in enumerate((0, 3, 6)):
            expected = torch.ones(10, 12, dtype=torch.bool)
            expected[top : top + 4, left : left + 4] = False
            assert torch.equal(keep[i, j], expected)


def test_patches_off_the_object_change_nothing_for_a_local_classifier():
    # p = share of white in the box (16, 8, 32, 24): patches outside of it cannot matter.
    box = (16, 8, 32, 24)
    metric = PatchProfile(share_classifier(box, SIZE), patch=8, stride=8)
    sample = white_sample(SIZE, [list(box)])
    score = metric.score(sample, BLACK)
    assert score.values["outside"] == pytest.approx(0, abs=1e-6)
    assert score.values["inside"] == pytest.approx(64 / 256, abs=1e-6)
    # Middle row of four: rows 16..24, columns 0, 8, ..., 40.
    assert score.curve.tolist() == pytest.approx([1, 1, 0.75, 0.75, 1, 1], abs=1e-6)
    assert list(metric.curve.x) == [3.5, 11.5, 19.5, 27.5, 35.5, 43.5]
    without = white_sample(SIZE)
    assert math.isnan(metric.score(without, BLACK).values["outside"])
