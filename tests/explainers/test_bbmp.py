from functools import partial

import pytest
import torch
import torch.nn.functional as F
from planted import box_region, iou, planted_classifier, planted_sample

from fido.explainers.fido import Fido
from fido.infillers.base import Infiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.objectives import SDR, SSR
from fido.masks.point import PointMask


class Watched(MeanInfiller):
    """The mean infiller, noting which masks it is shown."""

    def __init__(self):
        super().__init__((0.2, 0.2, 0.2))
        self.shown = []

    def infill(self, image, keep, noise=None):
        self.shown.append(keep.clone())
        return super().infill(image, keep, noise)


def explainer(objective, infiller: Infiller | None = None, **settings):
    settings = {"steps": 80, "mask": partial(PointMask, grid=(10, 12)), **settings}
    infiller = infiller or MeanInfiller((0.2, 0.2, 0.2))
    return Fido(planted_classifier(), infiller, objective, samples=1, **settings)


@pytest.mark.parametrize("objective", [SSR, SDR])
def test_planted_evidence_is_found(objective):
    (explanation,) = explainer(objective(0.02, warmup_steps=1)).explain([planted_sample()])
    assert explanation.failure is None
    assert iou(explanation.region, box_region()) > 0.8
    assert explanation.cost == {"forward": 80, "backward": 80, "infill": 80}


def test_every_update_equals_a_plain_loop():
    sample, steps = planted_sample(), 12
    objective = SSR(0.004, total_variation=0.02, warmup_steps=1)
    (explanation,) = explainer(objective, steps=steps).explain([sample])

    classifier, mask = planted_classifier(), torch.ones(1, 1, 10, 12, requires_grad=True)
    optimizer = torch.optim.Adam([mask], lr=0.05)
    losses = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        mask.data.clamp_(0, 1)
        keep = F.interpolate(mask, (40, 48), mode="bilinear", align_corners=False)[0]
        score = classifier((keep * sample.image + (1 - keep) * 0.2).unsqueeze(0))[0]
        variation = keep.diff(dim=1).square().sum() + keep.diff(dim=2).square().sum()
        penalty = 0.004 * keep.sum() + 0.02 * variation
        loss = score[0] - score[1] + (0 if step == 0 else penalty)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(
        explanation.history["loss"], torch.tensor(losses), rtol=1e-4, atol=1e-4
    )
    final = F.interpolate(mask.detach().clamp(0, 1), (40, 48), mode="bilinear")[0]
    torch.testing.assert_close(explanation.saliency, final, rtol=1e-3, atol=1e-4)


def test_only_untouched_pixels_are_shown_to_the_infiller():
    infiller = Watched()
    (explanation,) = explainer(SSR(0.02, warmup_steps=1), infiller, steps=3).explain(
        [planted_sample()]
    )
    first, *_, last = infiller.shown
    assert bool((first == 1).all())  # the mask starts by keeping everything
    assert set(last.unique().tolist()) <= {0.0, 1.0}
    assert float(last.mean()) < 0.5  # one step moved most cells off 1
    assert float(explanation.saliency.min()) > 0.8  # although they keep nearly all of the pixel


@pytest.mark.parametrize("size", [(224, 224), (40, 48), (37, 53)])
@pytest.mark.parametrize("align_corners", [False, True])
def test_an_upsampled_mask_of_ones_counts_as_kept(size, align_corners):
    mask = PointMask(1, size, (10, 12), align_corners=align_corners)
    assert bool((mask.binarize(mask.keep_prob()) == 1).all())
    mask.keep.data[0, 0, 3, 3] = 0.999
    assert bool((mask.binarize(mask.keep_prob()) == 0).any())


def test_a_map_does_not_depend_on_its_batch():
    bbmp = explainer(SSR(0.02), RandomInfiller(), steps=15, rows_per_pass=2)
    others = [(4, 4, 12, 12), (30, 20, 44, 36)]
    batch = [planted_sample(), *(planted_sample(box=b, image_id=str(b)) for b in others)]
    (alone,) = bbmp.explain(batch[:1])
    for order in (batch, batch[::-1]):
        (found,) = [e for e in bbmp.explain(order) if e.id == "planted"]
        torch.testing.assert_close(found.saliency, alone.saliency, rtol=0, atol=1e-5)


def test_wrong_numbers_are_named():
    with pytest.raises(ValueError, match=r"grid.*40 x 48"):
        explainer(SSR(0.02), mask=partial(PointMask, grid=64)).explain([planted_sample()])
    with pytest.raises(ValueError, match="steps"):
        explainer(SSR(0.02), steps=0)
