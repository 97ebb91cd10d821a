import pytest
import torch
import torch.nn.functional as F
from planted import box_region, iou, planted_classifier, planted_sample

from fido.explainers.mp import Mp, rounded, shifted
from fido.infillers.local import LocalInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.runtime.noise import ImageNoise

GREY = (0.2, 0.2, 0.2)


class Watched(MeanInfiller):
    """The mean infiller, noting the masks it is shown."""

    def __init__(self):
        super().__init__(GREY)
        self.shown = []

    def infill(self, image, keep, noise=None):
        self.shown.append(keep.clone())
        return super().infill(image, keep, noise)


def explainer(infiller=None, gain=20.0, **settings):
    settings = {"grid": 10, "steps": 60, "sparsity": 3e-3, "total_variation": 1e-3, **settings}
    return Mp(planted_classifier(gain=gain), infiller or MeanInfiller(GREY), **settings)


@pytest.mark.parametrize("binary", [False, True])
def test_planted_evidence_is_found(binary):
    (explanation,) = explainer(binary=binary).explain([planted_sample()])
    assert explanation.failure is None
    assert iou(explanation.region, box_region()) > 0.8
    history = explanation.history
    assert history["probability"][-1] < 0.2 < history["probability"][0]
    torch.testing.assert_close(history["probability"], history["score"].sigmoid())
    assert explanation.cost == {"forward": 60, "backward": 60, "infill": 60}


def test_every_update_equals_a_plain_loop():
    sample, classifier, steps = planted_sample(), planted_classifier(gain=8.0), 8
    mp = explainer(gain=8.0, steps=steps, sparsity=0.01, total_variation=0.02, seed=2)
    (explanation,) = mp.explain([sample])
    noise = ImageNoise(2, ["planted"], "mp")
    m = noise.uniform(1, 1, 10, 10).requires_grad_()
    optimizer = torch.optim.Adam([m], lr=0.1)
    losses = []
    for _ in range(steps):
        down, right = (noise.uniform(1, 2)[0] * 4).long().tolist()
        up = m.repeat_interleave(4, 2)[..., (2 * torch.arange(48) + 1) * 10 // 96]
        bordered = F.pad(sample.image[None], (2, 1, 2, 1), mode="reflect")
        image = bordered[..., down : down + 40, right : right + 48]
        p = classifier(up * image + (1 - up) * 0.2).softmax(1)[0, 1]
        loss = p + 0.01 * (1 - m).abs().sum()
        for neighbours in (m[..., 1:, :] - m[..., :-1, :], m[..., 1:] - m[..., :-1]):
            loss = loss + 0.02 * (neighbours.abs() ** 3).sum()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        m.data.clamp_(0, 1)
    torch.testing.assert_close(
        explanation.history["loss"], torch.tensor(losses), rtol=1e-4, atol=1e-5
    )
    expected = 1 - F.interpolate(m.detach(), (40, 48), mode="bilinear")[0]
    torch.testing.assert_close(explanation.saliency, expected, rtol=1e-3, atol=1e-4)


def test_mp_g_rounds_the_mask_and_passes_the_gradient_through():
    assert explainer(LocalInfiller(5)).binary
    assert not explainer(MeanInfiller(GREY)).binary
    assert not explainer(RandomInfiller()).binary  # draws anew, but does not look at the mask
    low = torch.tensor([[0.1, 0.3], [0.45, 0.2]]).view(1, 1, 2, 2)
    high = torch.tensor([[0.5, 0.7], [0.9, 0.8]]).view(1, 1, 2, 2)
    keep = torch.cat([low, high]).requires_grad_()  # thresholds 1/2 and (0.5 + 0.9) / 2
    hard = rounded(keep)
    assert hard.detach().round().flatten().tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    (hard * torch.arange(8.0).view(2, 1, 2, 2)).sum().backward()
    assert keep.grad.flatten().tolist() == list(range(8))


def test_the_infiller_sees_what_the_rounded_mask_keeps():
    infiller = Watched()
    explainer(infiller, steps=4, binary=True).explain([planted_sample()])
    assert len(infiller.shown) == 4
    for keep in infiller.shown:
        assert keep.unique().tolist() == [0.0, 1.0]


def test_shifts_move_each_image_by_its_own_and_nothing_at_the_middle():
    image = torch.rand(2, 3, 9, 11)
    moved = shifted(image, torch.tensor([[2, 2], [3, 0]]), 4)
    assert torch.equal(moved[0], image[0])
    assert torch.equal(moved[1, :, :8, 2:], image[1, :, 1:, :9])
    assert shifted(image, torch.zeros(2, 2).long(), 0) is image


def test_shifting_the_composite_moves_image_and_mask_together():
    for what in ("image", "composite"):
        (explanation,) = explainer(jitter_what=what).explain([planted_sample()])
        assert iou(explanation.region, box_region()) > 0.8


def test_a_map_does_not_depend_on_its_batch():
    mp = explainer(RandomInfiller(), steps=12, rows_per_pass=2)
    others = [planted_sample(box=b, image_id=str(b)) for b in ((4, 4, 12, 12), (30, 20, 44, 36))]
    batch = [planted_sample(), *others]
    (alone,) = mp.explain(batch[:1])
    for order in (batch, batch[::-1]):
        (found,) = [e for e in mp.explain(order) if e.id == "planted"]
        torch.testing.assert_close(found.saliency, alone.saliency, rtol=0, atol=1e-5)
    (reseeded,) = explainer(RandomInfiller(), steps=12, seed=1).explain(batch[:1])
    assert not torch.allclose(reseeded.saliency, alone.saliency, atol=1e-3)


def test_works_where_gradients_are_switched_off_and_leaves_the_classifier_alone():
    mp = explainer(steps=3)
    with torch.no_grad():
        (explanation,) = mp.explain([planted_sample()])
    assert len(explanation.history["loss"]) == 3
    assert all(not p.requires_grad for p in mp.classifier.parameters())


@pytest.mark.parametrize(
    ("name", "value"), [("grid", 0), ("steps", 0), ("learning_rate", 0), ("jitter_what", "mask")]
)
def test_wrong_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        explainer(**{name: value})
