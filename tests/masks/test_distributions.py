"""Distributions of masks: shapes, shares, and the masks that a run ended with."""

import pytest
import torch

from fido.evaluation.stored_masks import StoredMasks
from fido.masks.concrete import ConcreteMask
from fido.masks.distributions.base import sample_masks
from fido.masks.distributions.bernoulli import BernoulliGrid, BernoulliPixels
from fido.masks.distributions.shapes import CentredBox, ObjectBox
from fido.records import Explanation, Sample
from fido.runs.store import ResultsStore

SIZE = (40, 48)


def picture(number=0, size=SIZE):
    boxes = torch.tensor([[4.0, 6.0, 20.0, 30.0]])
    return Sample(f"picture{number}", torch.full((3, *size), 0.5), 0, boxes, 0)


def test_masks_follow_their_distributions():
    sample = picture(size=(112, 112))
    distributions = {
        "cells": BernoulliGrid(14, 0.3),
        "pixels": BernoulliPixels(0.9),
        "box": CentredBox(0.5),
    }
    masks = sample_masks(distributions, sample, n=20)
    cells = masks["cells"].float()
    grid = cells[..., ::8, ::8]
    assert torch.equal(cells, grid.repeat_interleave(8, 2).repeat_interleave(8, 3))
    assert float(grid.mean()) == pytest.approx(0.3, abs=0.03)
    assert float(masks["pixels"].float().mean()) == pytest.approx(0.9, abs=0.005)
    assert not masks["box"][:, :, 28:84, 28:84].any()
    assert int((~masks["box"]).sum()) == 20 * 56 * 56
    again = sample_masks({"pixels": BernoulliPixels(0.9)}, sample, n=20)
    assert torch.equal(again["pixels"], masks["pixels"])
    assert not torch.equal(
        sample_masks(distributions, sample, 20, seed=1)["pixels"], masks["pixels"]
    )
    filled, kept = (
        ObjectBox(p).sample(1, (112, 112), torch.Generator(), sample) for p in ("filled", "kept")
    )
    assert torch.equal(filled, ~kept)
    assert int(kept.sum()) == 16 * 24
    for wrong in (
        lambda: BernoulliPixels(1.5),
        lambda: BernoulliGrid(0),
        lambda: CentredBox(0),
        lambda: ObjectBox("x"),
    ):
        with pytest.raises(ValueError, match=r"keep rate|grid|side|filled"):
            wrong()


def test_masks_of_a_store_are_drawn_from_its_probabilities(tmp_path):
    store, sample = ResultsStore(tmp_path / "run"), picture()
    keep_prob = torch.zeros(1, *SIZE)
    keep_prob[:, :20], keep_prob[:, 20:, :24] = 0.3, 1.0
    row = {"id": sample.id, "status": "explained", "label": 0, "target": 0, "predicted": 0}
    store.save(sample, Explanation(sample.id, 0, keep_prob, keep_prob=keep_prob), row)
    store.save(picture(1), Explanation("picture1", 0, keep_prob), row)
    stored = StoredMasks(str(tmp_path / "run"))
    keep = sample_masks({"end": stored}, sample, n=50)["end"]
    assert float(keep[..., :20, :].float().mean()) == pytest.approx(0.3, abs=0.02)
    assert keep[..., 20:, :24].all()
    assert not keep[..., 20:, 24:].any()
    assert sample_masks({"end": stored}, picture(2)) == {}
    with pytest.raises(ValueError, match="found none"):
        stored.sample(1, SIZE, torch.Generator(), picture(1))
    with pytest.raises(ValueError, match=r"found of \(40, 48\) pixels"):
        stored.sample(1, (8, 8), torch.Generator(), Sample(sample.id, torch.zeros(3, 8, 8)))
    moved = Sample(sample.id, sample.image.flip(2).mul(0.9), 0, sample.boxes, 0)
    with pytest.raises(ValueError, match=r"other pixels.*data\.resize"):
        stored.sample(1, SIZE, torch.Generator(), moved)
    with pytest.raises(FileNotFoundError, match="holds no explanations"):
        StoredMasks(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("map", ["probability", "logit"])
def test_masks_of_a_store_are_the_cells_that_the_run_drew(tmp_path, map):
    options = {"grid": [5, 4], "unit": "cell", "final_map": map, "align_corners": map == "logit"}
    settings = {"explainer": {"mask": options}}
    mask = ConcreteMask(1, SIZE, **{**options, "grid": (5, 4)})
    specks = torch.full((1, 1, 5, 4), 6.0)
    specks[..., 2, 1], specks[..., 4, 3] = -1.0, -6.0
    mask.drop_logits.data = specks
    keep_prob = mask.final_keep_prob()[0]
    store, sample = ResultsStore(tmp_path / "run", settings), picture()
    row = {"id": sample.id, "status": "explained", "label": 0, "target": 0, "predicted": 0}
    store.save(sample, Explanation(sample.id, 0, keep_prob, keep_prob=keep_prob), row)
    stored = StoredMasks(str(tmp_path / "run"))
    keep = stored.sample(400, SIZE, torch.Generator().manual_seed(0), sample)
    cells = keep[:, 0, ::8, ::12]
    assert torch.equal(keep[:, 0], cells.repeat_interleave(8, 1).repeat_interleave(12, 2))
    found = cells.float().mean(0)
    # The average over a cell's pixels would give the lone cell 0.6 of its probability.
    assert torch.allclose(found, torch.sigmoid(-specks[0, 0]), atol=0.06)
    assert found[4, 3] > 0.98
