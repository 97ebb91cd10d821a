"""What is left of a class when its region is kept or removed, on classifiers that can be solved."""

import pytest
import torch
from analytic import box_map, explanation, share_classifier, white_sample
from planted import box_region, planted_classifier, planted_sample

from fido.infillers.blur import BlurInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.metrics.region import RegionProbability, region_probabilities
from fido.runs.region_edit import edit_region

SIZE = (32, 48)
BOX = (8, 8, 24, 24)  # 256 of 1536 pixels
BLACK = MeanInfiller((0.0, 0.0, 0.0))


def test_probabilities_are_the_shares_of_the_box_that_stay_white():
    metric = RegionProbability(share_classifier(BOX, SIZE), BLACK)
    quarter = metric.score(white_sample(SIZE), explanation(box_map((8, 8, 16, 16), SIZE))).values
    assert quarter == pytest.approx(
        {"p_original": 1, "p_kept": 0.25, "p_removed": 0.75, "area": 64 / 1536}, abs=1e-6
    )
    whole = metric.score(white_sample(SIZE), explanation(torch.ones(1, *SIZE))).values
    assert whole == pytest.approx(
        {"p_original": 1, "p_kept": 1, "p_removed": 0, "area": 1}, abs=1e-6
    )
    empty = metric.score(white_sample(SIZE), explanation(torch.zeros(1, *SIZE))).values
    assert empty == pytest.approx(
        {"p_original": 1, "p_kept": 0, "p_removed": 1, "area": 0}, abs=1e-6
    )


def test_planted_evidence_is_sufficient_and_necessary_and_nothing_else_is():
    dark = MeanInfiller((0.2, 0.2, 0.2))
    metric = RegionProbability(planted_classifier(), dark)
    sample, region = planted_sample(), box_region().float()
    found = metric.score(sample, explanation(region, sample.id, 1)).values
    missed = metric.score(sample, explanation(1 - region, sample.id, 1)).values
    assert found["p_kept"] > 0.99
    assert found["p_removed"] < 0.01
    assert missed["p_kept"] < 0.01
    assert missed["p_removed"] > 0.99


@pytest.mark.parametrize("infiller", [BLACK, BlurInfiller()])
def test_the_edits_are_those_that_a_run_stores(infiller):
    sample, classifier = planted_sample(), planted_classifier()
    region = box_region()
    edit = edit_region(classifier, infiller, sample.image, region)
    ours = region_probabilities(classifier, infiller, sample, region, 1)
    theirs = edit.probabilities[:, 1].tolist()
    assert [ours[n] for n in ("p_original", "p_kept", "p_removed")] == pytest.approx(theirs)


def test_pixels_that_are_not_finite_lie_in_no_region():
    saliency = box_map((8, 8, 16, 16), SIZE)
    saliency[0, 20:24, 20:24] = torch.inf
    metric = RegionProbability(share_classifier(BOX, SIZE), BLACK)
    assert metric.score(white_sample(SIZE), explanation(saliency)).values["area"] == 64 / 1536


def test_scores_do_not_depend_on_the_batch_and_other_sizes_are_refused():
    sample, saliency = white_sample(SIZE), box_map((8, 8, 20, 20), SIZE)
    one, both = (
        RegionProbability(share_classifier(BOX, SIZE), RandomInfiller(), rows_per_pass=n)
        .score(sample, explanation(saliency))
        .values
        for n in (1, 2)
    )
    assert one == pytest.approx(both, abs=1e-6)
    with pytest.raises(ValueError, match="white: a map of"):
        RegionProbability(share_classifier(BOX, SIZE), BLACK).score(
            sample, explanation(torch.ones(1, 16, 16))
        )
