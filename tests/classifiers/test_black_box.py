"""Functions without a gradient: what they may return, and that FIDO explains them."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from planted import (
    box_region,
    brightness_function,
    iou,
    planted_classifier,
    planted_sample,
)
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fido
from fido.classifiers.black_box import BlackBox
from fido.infillers.mean import MeanInfiller

GREY = MeanInfiller((0.2, 0.2, 0.2))


brightness = brightness_function()


def test_log_odds_are_those_of_the_probabilities():
    box = BlackBox(brightness, (40, 48))
    image = torch.rand(5, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 1, 0, 1, 1])
    expected = planted_classifier().log_odds(image, target)
    torch.testing.assert_close(box.log_odds(image, target), expected, atol=1e-4, rtol=1e-4)
    assert box.class_names == ["class 0", "class 1"]


def test_a_certain_answer_has_finite_log_odds():
    box = BlackBox(lambda images: np.eye(3)[np.zeros(len(images), int)], (8, 8))
    odds = box.log_odds(torch.rand(2, 3, 8, 8), torch.tensor([0, 1]))
    assert odds[0] > 14
    assert odds[1] < -14


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda n: np.zeros((n, 2)), "1 in sum"),
        (lambda n: np.array([[1.5, -0.5]] * n), "at least 0"),
        (lambda n: np.full((n, 2), np.nan), "1 in sum"),
        (lambda n: np.full((n + 2, 2), 0.5), r"\(1, classes\).*\(3, 2\)"),
        (lambda n: np.full(n, 0.5), r"\(1, classes\)"),
        (lambda n: np.ones((n, 1)), "two or more"),
    ],
)
def test_what_is_no_probability_is_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        BlackBox(lambda images: answer(len(images)), (8, 8))


def test_a_function_that_cannot_be_copied_is_asked_itself():
    class Session:
        asked = 0

        def __call__(self, images):
            self.asked += len(images)
            return np.full((len(images), 2), 0.5)

        def __deepcopy__(self, memo):
            raise TypeError("a session has no copy")

    session = Session()
    box = copy.deepcopy(BlackBox(session, (8, 8)))
    before = session.asked
    box(torch.rand(4, 3, 8, 8))
    assert session.asked == before + 4


def test_methods_that_need_a_gradient_say_what_else_there_is():
    with pytest.raises(ValueError, match="leave_one_out"):
        fido.explain(brightness, planted_sample().image, 1, method="gradient")
    with pytest.raises(ValueError, match="leave_one_out"):
        fido.explain(brightness, planted_sample().image, 1, infiller=GREY, gradient="relaxed")
    with pytest.raises(ValueError, match="mean"):
        fido.explain(brightness, planted_sample().image, mean=(0, 0, 0))


@pytest.mark.parametrize("objective", ["ssr", "sdr"])
def test_fido_finds_the_planted_evidence(objective):
    explanation = fido.explain(
        brightness,
        planted_sample().image,
        1,
        infiller=GREY,
        objective=objective,
        grid=10,
        sparsity=0.02,
        steps=150,
        samples=16,
        learning_rate=0.1,
    )
    assert iou(explanation.region, box_region()) > 0.6
    assert explanation.cost == {"forward": 2400, "backward": 0, "infill": 2400}


@pytest.mark.parametrize("method", ["lime", "rise", "sliding_patch", "occlusion"])
def test_methods_that_ask_for_probabilities_explain_it_as_the_network(method):
    settings = {"lime": {"samples": 60}, "rise": {"masks": 60}, "occlusion": {"patch": 8}}
    explain = partial(
        fido.explain,
        image=planted_sample().image,
        target=1,
        method=method,
        infiller=GREY,
        **settings.get(method, {"patch": 8, "stride": 4}),
    )
    network = explain(planted_classifier())
    torch.testing.assert_close(explain(brightness).saliency, network.saliency, atol=1e-4, rtol=1e-3)


def test_a_scikit_learn_pipeline_of_digits_is_explained():
    """The region alone keeps the class; a region of that size elsewhere does not."""
    digits = load_digits()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    pipeline.fit(digits.data, digits.target)

    def probabilities(images):
        return pipeline.predict_proba(16 * images.mean(1).reshape(len(images), 64))

    photo = torch.tensor(digits.images[3] / 16).float().expand(3, 8, 8)
    explanation = fido.explain(
        probabilities,
        photo,
        infiller=MeanInfiller((0, 0, 0)),
        objective="ssr",
        grid=8,
        sparsity=0.2,
        total_variation=0.3,
        steps=150,
        samples=16,
        learning_rate=0.1,
    )
    assert explanation.target == 3
    region = explanation.region
    kept, rest = (photo * mask for mask in (region, ~region))
    p = probabilities(torch.stack([photo, kept, rest]).numpy())[:, 3]
    assert p[1] > 0.9 * p[0] > 5 * p[2]
    assert region.float().mean() < 0.5
