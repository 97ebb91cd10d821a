"""What every method promises, whatever it does: from its config leaf to its explanation."""

import pytest
import torch
from configurations import explain_config, leaves
from counterfactuals import squares
from planted import planted_classifier, planted_sample
from small_networks import BrightCells, plain

from fido.app.instantiate import build
from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.squares import squares_classifier
from fido.infillers.mean import MeanInfiller

GRID = ["explainer.grid=6", "explainer.steps=3"]
# Overrides that make a method quick on 40 x 48 pixels; every leaf needs an entry.
QUICK = {
    "fido": ["mask.grid=6", "explainer.steps=3", "explainer.samples=2"],
    "bbmp": ["explainer.mask.grid=6", "explainer.steps=3"],
    "mp": GRID,
    "mp2": ["explainer.grid=6", "explainer.max_steps=3"],
    "sliding_patch": ["explainer.patch=9", "explainer.stride=6"],
    "lime": ["explainer.samples=20"],
    "extremal": ["explainer.steps=3"],
    "rise": ["explainer.masks=20"],
    "gradient": [],
    "grad_cam": [],
    "integrated_gradients": ["explainer.steps=5"],
    "smoothgrad": ["explainer.samples=5"],
    "occlusion": ["explainer.patch=16"],
    "realtime": [],
    "center": [],
    "full": [],
    "random_map": [],
    "ground_truth_box": [],
    "hand_mask": ["mask.file=tests/fixtures/hand_mask.png"],
}
# Methods that return an image, on squares with their exact denoiser.
SQUARES = ["denoiser@explainer.denoiser=squares", "explainer.steps=5"]
COUNTERFACTUAL = {
    "dvce": SQUARES,
    "dvce_plain": SQUARES,
    "dvce_paper": SQUARES,
    "no_classifier": SQUARES,
    "dime": SQUARES,
    "fast_dime": SQUARES,
    "mask_dime": SQUARES,
    "no_guidance": SQUARES,
    "ace": [*SQUARES, "explainer.iterations=3"],
    "pgd": ["explainer.steps=5"],
}
# What asks more of a classifier than the planted one has: feature maps, the encoder's classes.
CLASSIFIERS = {
    "GradCam": lambda: plain(BrightCells()),
    "MaskingNetworkExplainer": lambda: efficientnet_lite(0),
}


def test_every_method_is_tried():
    """A new file in conf/explainer/ needs a line above."""
    tried = {*QUICK, *COUNTERFACTUAL}
    assert {name for _, name in leaves("explainer")} == tried


@pytest.mark.parametrize("name", COUNTERFACTUAL)
def test_a_counterfactual_of_every_sample_in_order(name):
    explainer = explain_config(f"explainer={name}", *COUNTERFACTUAL[name]).explainer
    samples, classifier = squares()[:2], squares_classifier()
    shared = {"classifier": classifier, "infiller": MeanInfiller(), "progress": None}
    explanations = build(explainer, **shared).explain(samples)
    again = build(explainer, **shared).explain(samples[:1])
    assert torch.equal(explanations[0].counterfactual, again[0].counterfactual)
    for sample, explanation in zip(samples, explanations, strict=True):
        assert (explanation.id, explanation.target) == (sample.id, sample.target)
        assert explanation.failure is None
        assert explanation.counterfactual.shape == (3, 16, 16)
        assert explanation.counterfactual.dtype == torch.uint8
        assert explanation.saliency.shape == (1, 16, 16)
        assert explanation.saliency.isfinite().all()
    assert not any(p.requires_grad for p in classifier.parameters())


@pytest.fixture(params=QUICK)
def leaf(request):
    return explain_config(f"explainer={request.param}", *QUICK[request.param]).explainer


def explain(leaf, samples, heard=None):
    make = CLASSIFIERS.get(leaf._target_.rpartition(".")[2], planted_classifier)
    shared = {
        "classifier": make(),
        "infiller": MeanInfiller((0.2, 0.2, 0.2)),
        "progress": (lambda *news: heard.append(news)) if heard is not None else None,
    }
    return build(leaf, **shared).explain(samples), shared["classifier"]


def test_an_explanation_of_every_sample_in_order(leaf):
    other = planted_sample(box=(30, 20, 44, 36), image_id="other")
    explanations, classifier = explain(leaf, [planted_sample(), other])
    assert [explanation.id for explanation in explanations] == ["planted", "other"]
    for explanation in explanations:
        assert explanation.failure is None
        assert explanation.target == 1
        assert explanation.saliency.shape == (1, 40, 48)
        assert explanation.saliency.dtype == torch.float32
        assert explanation.saliency.device.type == "cpu"
        assert not explanation.saliency.requires_grad
        assert set(explanation.cost) == {"forward", "backward", "infill"}
        lengths = {len(curve) for curve in explanation.history.values()}
        assert len(lengths) <= 1
    for module in classifier.modules():
        assert not module._forward_hooks
        assert not module._backward_hooks
        assert not module.training
    assert not any(p.requires_grad for p in classifier.parameters())


def test_the_run_is_told_of_progress_up_to_the_end(leaf):
    heard = []
    explanations, _ = explain(leaf, [planted_sample()], heard)
    if not any(explanations[0].cost.values()):
        assert heard == []  # baselines ask nobody
        return
    for ids, done, total, values in heard:
        assert ids == ["planted"]
        assert 0 < done <= total
        assert values
        assert all(value.shape == (1,) for value in values.values())
    assert heard[-1][1] == heard[-1][2]
    assert [news[1] for news in heard].count(heard[-1][2]) == 1


def test_the_same_call_gives_the_same_map(leaf):
    (first,), _ = explain(leaf, [planted_sample()])
    (again,), _ = explain(leaf, [planted_sample()])
    assert torch.equal(first.saliency, again.saliency)


def test_bbmp_takes_objective_from_the_run_and_sparsity_from_itself():
    overrides = ["objective=sdr", "explainer.objective.sparsity=0.02", *QUICK["bbmp"]]
    leaf = explain_config("explainer=bbmp", *overrides).explainer
    (explanation,), _ = explain(leaf, [planted_sample()])
    torch.testing.assert_close(explanation.saliency, 1 - explanation.keep_prob)
    assert leaf.objective.warmup_steps == 1


def test_bbmp_with_both_objectives_takes_their_balance():
    """0 is SSR; any other weighs the scores of what is kept and of the rest."""
    common = ["explainer=bbmp", "explainer.objective.sparsity=0.02", *QUICK["bbmp"]]
    maps = {}
    for name, options in {"ssr": [], "both": ["objective.balance=0"]}.items():
        leaf = explain_config(f"objective={name}", *options, *common).explainer
        (explanation,), _ = explain(leaf, [planted_sample()])
        maps[name] = explanation.saliency
    assert torch.allclose(maps["ssr"], maps["both"], atol=1e-5)
    for balance in (0.25, 1):
        options = ["objective=both", f"objective.balance={balance}"]
        objective = build(explain_config(*options, *common).explainer.objective)
        kept_and_rest = torch.tensor([3.0, 5.0])
        expected = 5 * balance - 3 * (1 - balance)
        assert objective.class_term(kept_and_rest).item() == pytest.approx(expected)
