"""Counterfactuals of handwritten digits: judged by who did not help to make them."""

from dataclasses import replace

import pytest
import torch
from counterfactuals import digits, leaf
from torch import nn

from fido.classifiers.base import Classifier
from fido.diffusion.regions.everywhere import Everywhere
from fido.explainers.guided_diffusion import GuidedDiffusion
from fido.explainers.pgd import ProjectedGradient


def second_choices(n=100):
    """Digits of the test, each with the classifier's second choice as target."""
    samples = digits()[:n]
    images = torch.stack([sample.image for sample in samples])
    targets = leaf_classifier()(images).topk(2).indices[:, 1].tolist()
    return [replace(sample, target=target) for sample, target in zip(samples, targets, strict=True)]


def leaf_classifier():
    global _classifier
    _classifier = _classifier or leaf("classifier", "digits")
    return _classifier


_classifier = None


def oracle(images):
    """The nearest of the digits that the classifier was not trained on, by three votes."""
    known = torch.stack([sample.image for sample in digits("oracle")]).mean(1).flatten(1)
    labels = torch.tensor([sample.label for sample in digits("oracle")])
    nearest = torch.cdist(images.mean(1).flatten(1), known).topk(3, largest=False).indices
    return labels[nearest].mode(1).values


def reached(explainer, samples):
    """Shares that the explained classifier and the oracle take for the target."""
    explanations = explainer.explain(samples)
    images = torch.stack([each.counterfactual for each in explanations]).float() / 255
    target = torch.tensor([sample.target for sample in samples])
    own = torch.tensor([float(each.history["flipped"][-1]) for each in explanations]).mean()
    return float(own), float((oracle(images) == target).float().mean())


def guided(budget, classifier=None, start=0.3):
    return GuidedDiffusion(
        classifier or leaf_classifier(),
        leaf("denoiser", "digits"),
        Everywhere(),
        budget=budget,
        start=start,
        variable="x0",
        estimates=0,
        rows_per_pass=128,
    )


def test_the_classifier_and_the_oracle_know_digits():
    samples = digits()
    images = torch.stack([sample.image for sample in samples])
    labels = torch.tensor([sample.label for sample in samples])
    assert (leaf_classifier()(images).argmax(1) == labels).float().mean() >= 0.93
    assert (oracle(images) == labels).float().mean() >= 0.95
    ids = {name: {sample.id for sample in digits(name)} for name in ("test", "train", "oracle")}
    assert sum(len(each) for each in ids.values()) == len(set.union(*ids.values())) == 1797


def test_the_same_settings_train_the_same_classifier():
    again = leaf("classifier", "digits")
    for a, b in zip(leaf_classifier().parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_diffusion_changes_convinces_others_and_an_attack_does_not():
    samples = second_choices()
    own, other = reached(guided(0.8), samples)
    attack = ProjectedGradient(leaf_classifier(), Everywhere(), epsilon=0.1, confidence=None)
    attacked, convinced = reached(attack, samples)
    assert own >= 0.6
    assert attacked >= 0.6
    assert other / own >= 1.4 * convinced / attacked


def test_a_random_network_moves_digits_no_further_than_the_control():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, 10))
    blind = Classifier(network, 8, (0,) * 3, (1,) * 3, class_names=[str(i) for i in range(10)])
    samples = second_choices()
    predicted = blind(torch.stack([sample.image for sample in samples])).argmax(1).tolist()
    samples = [s for s, p in zip(samples, predicted, strict=True) if p != s.target]

    def true_rate(explainer):
        images = [each.counterfactual.float() / 255 for each in explainer.explain(samples)]
        answers = leaf_classifier()(torch.stack(images)).argmax(1).tolist()
        return sum(a == s.target for a, s in zip(answers, samples, strict=True)) / len(samples)

    assert true_rate(guided(0.8, blind)) == pytest.approx(true_rate(guided(0)), abs=0.05)


def test_threes_become_eights_that_others_take_for_eights():
    threes = [replace(sample, target=8) for sample in digits() if sample.label == 3][:6]
    images = []
    for explanation in guided([0.8, 1.6], start=0.1).explain(threes):
        assert explanation.history["flipped"][-1] == 1
        images.append(explanation.counterfactual.float() / 255)
        # Grey stays grey.
        assert torch.equal(images[-1][0], images[-1][1])
        assert torch.equal(images[-1][0], images[-1][2])
    assert (oracle(torch.stack(images)) == 8).float().mean() >= 0.5
