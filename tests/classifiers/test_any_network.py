"""Networks of other kinds: one output, independent labels, probabilities, grey, half precision."""

import logging

import pytest
import torch
from planted import BOX, BoxBrightness, box_region, iou, planted_sample
from torch import nn

import fido
from fido.classifiers.base import Classifier
from fido.classifiers.self_check import check_classifier
from fido.explainers.gradient import Gradient
from fido.explainers.occlusion import Occlusion
from fido.infillers.mean import MeanInfiller
from fido.metrics.region import region_probabilities

PLAIN = {"size": (40, 48), "mean": (0.0,) * 3, "std": (1.0,) * 3}
IMAGE = planted_sample().image[None]


class BoxLogit(nn.Module):
    """One output: the log-odds of the box classifier."""

    def forward(self, x):
        return BoxBrightness()(x)[:, 1:]


class Labels(nn.Module):
    """Three independent labels: the box is bright, the box is dark, the top left is bright."""

    def forward(self, x):
        box = BoxBrightness()(x)[:, 1]
        return torch.stack([box, -box, BoxBrightness((0, 0, 8, 8))(x)[:, 1] + 40], 1)


class Then(nn.Module):
    """A network followed by any function."""

    def __init__(self, network, function):
        super().__init__()
        self.network, self.function = network, function

    def forward(self, x):
        return self.function(self.network(x))


def small(channels=3, out=2):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, out),
    )


def test_one_output_is_a_label_with_the_log_odds_of_its_sigmoid():
    classifier = Classifier(BoxLogit(), **PLAIN, class_names=["bright"])
    expected = BoxBrightness()(IMAGE)
    assert classifier.output.name == "sigmoid"
    torch.testing.assert_close(classifier.log_odds(IMAGE, torch.tensor([0])), expected[:, 1])
    torch.testing.assert_close(classifier.probabilities(IMAGE)[0], expected.softmax(1)[0, 1:])


def test_two_names_make_two_classes_of_one_output():
    one = Classifier(BoxLogit(), **PLAIN, class_names=["dark", "bright"])
    two = Classifier(BoxBrightness(), **PLAIN, class_names=["dark", "bright"])
    torch.testing.assert_close(one(IMAGE), two(IMAGE))
    maps = [fido.explain(c, IMAGE, method="gradient", target="second").saliency for c in (one, two)]
    torch.testing.assert_close(*maps)


@pytest.mark.parametrize("method", ["fido", "occlusion", "gradient"])
def test_one_output_is_explained_by_its_evidence(method):
    settings = {
        "fido": {"steps": 60, "samples": 4, "grid": 12},
        "occlusion": {"patch": 8, "stride": 4},
        "gradient": {},
    }[method]
    explanation = fido.explain(
        BoxLogit(),
        IMAGE,
        "bright",
        method=method,
        infiller="mean",
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
        class_names=["bright"],
        **settings,
    )
    assert iou(explanation.region, box_region()) > 0.5


def test_a_label_is_explained_whatever_the_others_say():
    classifier = Classifier(Labels(), **PLAIN, output="sigmoid")
    alone = Classifier(BoxLogit(), **PLAIN, output="sigmoid")
    sample = fido.Sample("planted", IMAGE[0], target=0)
    for build in (Gradient, lambda c: Occlusion(c, patch=8)):
        (one,), (many,) = (build(c).explain([sample]) for c in (alone, classifier))
        torch.testing.assert_close(one.saliency, many.saliency)
    p = [
        region_probabilities(c, MeanInfiller(), sample, box_region(), 0, 0)["p_removed"]
        for c in (alone, classifier)
    ]
    assert p[0] == pytest.approx(p[1])
    assert p[0] < 0.5


def test_second_is_refused_in_words_where_labels_are_independent():
    with pytest.raises(ValueError, match=r"independent of each other.*class 0, class 1"):
        fido.explain(Labels(), IMAGE, "second", method="gradient", output="sigmoid")
    with pytest.raises(ValueError, match="target=second is not defined"):
        fido.explain(BoxLogit(), IMAGE, "second", method="gradient", output="sigmoid")


def test_one_output_that_nothing_is_said_of_is_refused():
    with pytest.raises(ValueError, match=r"nothing says what it is.*output=sigmoid"):
        Classifier(BoxLogit(), **PLAIN)
    assert Classifier(BoxLogit(), **PLAIN, class_names=["bright"]).output.name == "sigmoid"


def test_a_softmax_of_one_output_is_refused():
    with pytest.raises(ValueError, match=r"output=sigmoid, or two names"):
        Classifier(BoxLogit(), **PLAIN, output="softmax")


@pytest.mark.parametrize(
    ("network", "function", "kind"),
    [
        (BoxBrightness(), lambda z: z.softmax(1), "softmax"),
        (BoxBrightness(), lambda z: z.softmax(1).reshape(-1, 2), "softmax"),
        (BoxLogit(), torch.sigmoid, "sigmoid"),
        (BoxLogit(), lambda z: torch.sigmoid(z).squeeze(1), "sigmoid"),
        (Labels(), nn.Sigmoid(), "sigmoid"),
        (Labels(), lambda z: torch.cat([part.sigmoid() for part in z.split(1, 1)], 1), "sigmoid"),
        (Labels(), lambda z: torch.stack([z[:, 2].sigmoid(), z[:, 0].sigmoid()], 1), "sigmoid"),
    ],
)
def test_probabilities_are_recognised_and_said(network, function, kind, caplog):
    with caplog.at_level(logging.WARNING):
        classifier = Classifier(Then(network, function), **PLAIN)
    assert classifier.given == kind
    assert "probabilities already" in caplog.text
    given = function(network(IMAGE)).reshape(1, -1)
    torch.testing.assert_close(classifier.probabilities(IMAGE), given, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("function", [lambda z: z.sigmoid() ** 2, lambda z: z.sigmoid().detach()])
def test_what_may_be_probabilities_is_said(function, caplog):
    with caplog.at_level(logging.WARNING):
        classifier = Classifier(Then(Labels(), function), **PLAIN)
    assert classifier.given == "logits"
    assert "lie in [0, 1] for all test images and are taken as logits" in caplog.text


def test_logits_that_lie_in_0_to_1_are_logits(caplog):
    network = small(out=1)  # its outputs are about 0.2
    classifier = Classifier(network, size=(40, 48), output="sigmoid")
    assert classifier.given == "logits"
    assert not caplog.text
    assert float(classifier.probabilities(IMAGE)) == pytest.approx(
        float(classifier(IMAGE).sigmoid())
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.float64, torch.bfloat16])
def test_weights_of_another_type_get_images_of_their_type(kind):
    classifier = Classifier(small().to(kind), size=(40, 48))
    reference = Classifier(small(), size=(40, 48))
    image = IMAGE.clone().requires_grad_()
    assert classifier(image).dtype == torch.float32
    torch.testing.assert_close(classifier(IMAGE), reference(IMAGE), atol=0.02, rtol=0.02)
    classifier.log_odds(image, torch.tensor([1])).sum().backward()
    assert image.grad.abs().sum() > 0
    check_classifier(classifier, IMAGE[0], needs_gradient=True)


@pytest.mark.parametrize("values", [{"mean": [0.1], "std": [0.3]}, {"mean": 0.1, "std": 0.3}])
def test_a_grey_network_gets_the_luminance(values):
    network = small(1)
    classifier = Classifier(network, size=(40, 48), **values)
    image = torch.rand(2, 3, 40, 48)
    grey = 0.299 * image[:, :1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:]
    torch.testing.assert_close(classifier(image), network.eval()((grey - 0.1) / 0.3))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda z: {"logits": z, "loss": z.sum()},
        lambda z: {"features": z + 1, "out": z},
        lambda z: (z, z + 1),
        lambda z: z[:, :, None, None],
        lambda z: z.squeeze(),
    ],
)
def test_wrapped_outputs_are_taken_out(wrap):
    classifier = Classifier(Then(BoxBrightness(), wrap), **PLAIN)
    pair = torch.cat([IMAGE, IMAGE])
    torch.testing.assert_close(classifier(IMAGE), BoxBrightness()(IMAGE))
    torch.testing.assert_close(classifier(pair), BoxBrightness()(pair))


def test_a_view_falls_back_to_the_usual_layout_and_says_it_once(caplog):
    torch.manual_seed(0)
    body, head = nn.Conv2d(3, 4, 5, stride=8), nn.Linear(4 * 5 * 6, 2)

    class Viewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = body, head

        def forward(self, x):
            maps = self.body(x)
            return self.head(maps.view(len(maps), -1))

    classifier = Classifier(Viewed(), **PLAIN)
    expected = head(body(IMAGE).flatten(1))
    torch.testing.assert_close(classifier(IMAGE), expected)
    classifier(torch.cat([IMAGE, IMAGE]))
    assert caplog.text.count("channels last") == 1


def refusing(error):
    def function(logits):
        raise error

    return function


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (lambda: torch.jit.script(small()), "TorchScript"),
        (lambda: torch.jit.trace(small().eval(), torch.rand(1, 3, 40, 48)), "TorchScript"),
        (lambda: small(4), "takes 4 channels"),
        (lambda: small(6), r"cannot classify a batch of shape \(1, 3, 40, 48\)"),
        (lambda: small(1), "3 numbers for a network of 1 channels"),
        (lambda: nn.Conv2d(3, 5, 3), "segmentation"),
        (lambda: Then(small(), lambda z: z.argmax(1)), "numbers that the argmax is taken of"),
        (lambda: Then(small(), lambda z: {}), "NoneType"),
        (lambda: nn.Linear(100, 2), "Linear cannot classify"),
        (lambda: Then(BoxBrightness(), lambda z: 100 * z.softmax(1)), "percentages are no logits"),
        (lambda: Then(small(), refusing(AssertionError("too small"))), "batch.*: too small"),
        (lambda: Then(small(), refusing(ZeroDivisionError())), "batch.*: ZeroDivisionError"),
        (lambda: "resnet50", "must be a torch.nn.Module.*got str"),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(network, words):
    with pytest.raises(ValueError, match=words):
        Classifier(network(), size=(40, 48))


@pytest.mark.parametrize("names", [["cat"], ["cat", "dog", "cow"]])
def test_names_are_as_many_as_outputs(names):
    with pytest.raises(ValueError, match=f"{len(names)} names for a network of 2 classes"):
        Classifier(small(), size=(40, 48), class_names=names)


def test_names_may_be_numbers_and_switches():
    assert Classifier(small(), size=(40, 48), class_names=[0, 1]).class_names == ["0", "1"]
    assert Classifier(small(), size=8, class_names=[False, True]).class_names == ["false", "true"]


def test_the_users_module_stays_as_it_was():
    network = small().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    classifier = Classifier(network, size=(40, 48))
    fido.explain(network, IMAGE, method="gradient")
    assert all(module.training for module in network.modules())
    assert all(p.requires_grad for p in network.parameters())
    assert network[0].weight.is_contiguous()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():  # a training that goes on changes no classifier
        answer = classifier(IMAGE)
        network[5].weight.zero_()
    torch.testing.assert_close(classifier(IMAGE), answer)


def test_wrappers_of_trainings_are_taken_off():
    network = small()
    expected = Classifier(network, size=(40, 48))(IMAGE)
    for wrapper in (nn.DataParallel(network), torch.compile(network, backend="eager")):
        torch.testing.assert_close(Classifier(wrapper, size=(40, 48))(IMAGE), expected)


class Dropping(nn.Module):
    def forward(self, x):
        return BoxBrightness()(nn.functional.dropout(x, 0.5, training=True))


class BatchNormed(nn.Module):
    def forward(self, x):
        return BoxBrightness()(x - x.amax((0, 2, 3), keepdim=True) + x.flip(0))


class Detached(nn.Module):
    def forward(self, x):
        return BoxBrightness()(x.detach())


class Rounded(nn.Module):
    def forward(self, x):
        return BoxBrightness()((x * 255).round() / 255)


class NotANumber(nn.Module):
    def forward(self, x):
        return BoxBrightness()(x) / (x.amin() > 0.25)


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (Dropping(), "repeats: found logits that differ"),
        (Detached(), "gradient: found none"),
        (Rounded(), "gradient: found zero everywhere"),
        (NotANumber(), "numbers: found"),
    ],
)
def test_the_self_check_says_what_was_found(network, line):
    classifier = Classifier(network, **PLAIN)
    with pytest.raises(ValueError, match=line) as error:
        check_classifier(classifier, IMAGE[0], needs_gradient=True)
    assert all("expected" in text for text in str(error.value).splitlines()[1:])


class OwnStatistics(nn.Module):
    """A batch normalisation that uses its batch's mean and variance in evaluation mode, too."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3, track_running_stats=False)

    def forward(self, x):
        return BoxBrightness(gain=1)(self.norm(x))


class AlwaysTraining(nn.Module):
    def forward(self, x):
        return BoxBrightness(gain=1)(nn.functional.batch_norm(x, None, None, training=True))


@pytest.mark.parametrize("network", [BatchNormed(), OwnStatistics(), AlwaysTraining()])
def test_a_network_that_mixes_its_batch_is_found(network):
    with pytest.raises(ValueError, match="batches: found"):
        check_classifier(Classifier(network, **PLAIN), IMAGE[0])


def test_the_self_check_passes_sound_networks():
    for network, output in (
        (BoxBrightness(), "softmax"),
        (BoxLogit(), "sigmoid"),
        (Labels(), "sigmoid"),
        (small(), "auto"),
    ):
        classifier = Classifier(network, **PLAIN, output=output)
        check_classifier(classifier, IMAGE[0], needs_gradient=True)


def test_methods_without_gradient_need_none():
    classifier = Classifier(Detached(), **PLAIN)
    found = fido.explain(classifier, IMAGE, method="occlusion", patch=8, stride=4)
    left, top, right, bottom = BOX
    inside = found.saliency[0, top:bottom, left:right].mean()
    assert inside > 2 * found.saliency.mean()
    with pytest.raises(ValueError, match="gradient: found none"):
        fido.explain(classifier, IMAGE, method="fido", infiller="mean", steps=2)
