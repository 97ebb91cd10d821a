import threading

import pytest
import timm
import torch
import torchvision
from torch import nn

from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.folding import fold_batch_norms


def norms(classifier):
    return [m for m in classifier.network.modules() if isinstance(m, nn.BatchNorm2d)]


def used(network):
    """Statistics and scales as after a training."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            shape = module.running_var.shape
            for tensor, low in (
                (module.running_mean, -0.2),
                (module.running_var, 0.5),
                (module.weight.data, 0.5),
                (module.bias.data, -0.2),
            ):
                tensor.copy_(low + torch.rand(shape, generator=generator))
    return network


def answers(classifier):
    image = torch.rand(2, 3, *classifier.size, generator=torch.Generator().manual_seed(2))
    image.requires_grad_()
    logits = classifier(image)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), image)
    return logits.detach(), gradient


@pytest.mark.parametrize(
    ("network", "left"),
    [
        (lambda: torchvision.models.resnet18(num_classes=5), 0),
        (lambda: torchvision.models.mobilenet_v2(num_classes=5), 0),
        # Half of DenseNet's and the pre-activation network's normalise sums and concatenations.
        (lambda: torchvision.models.densenet121(num_classes=5), 62),
        (lambda: timm.create_model("efficientnet_b0", num_classes=5), 0),
        (lambda: timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=64), 0),
    ],
    ids=["resnet", "mobilenet", "densenet", "efficientnet", "vit"],
)
def test_logits_and_gradients_stay(network, left):
    torch.manual_seed(0)
    classifier = Classifier(used(network()), size=64)
    names = [name for name, _ in classifier.network.named_modules() if name.count(".") < 2]
    logits, gradient = answers(classifier)
    assert fold_batch_norms(classifier) is classifier
    assert len(norms(classifier)) == left
    after, folded = answers(classifier)
    torch.testing.assert_close(after, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max()))
    # By its norm: rounding moves a few activations over the kink of their ReLU.
    assert (folded - gradient).norm() < 0.01 * gradient.norm()
    assert not any(p.requires_grad for p in classifier.parameters())
    there = {name for name, _ in classifier.network.named_modules()}
    assert set(names) <= there


def test_the_default_classifier_says_the_same():
    plain, folded = efficientnet_lite(0), fold_batch_norms(efficientnet_lite(0))
    assert norms(plain)
    assert not norms(folded)
    image = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(folded(image), plain(image), rtol=0, atol=1e-4)


def test_a_classifier_of_less_precision_is_folded_too():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), used(nn.BatchNorm2d(5)), nn.ReLU(), Pool())
    classifier = fold_batch_norms(Classifier(network, size=8, precision="bf16"))
    assert not norms(classifier)
    assert classifier.precision == "bf16"


class Pool(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


class Locked(nn.Module):
    """Cannot be copied, like what wraps another library's session."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        return x.mean((2, 3))


def test_a_network_with_nothing_to_fold_need_not_be_copied():
    classifier = Classifier(Locked(), size=8)
    network = classifier.network
    assert fold_batch_norms(classifier).network is network


class Twice(nn.Module):
    """The output of the convolution is also used without its normalisation."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 5, 3), used(nn.BatchNorm2d(5))

    def forward(self, x):
        y = self.convolution(x)
        return (self.norm(y) + y).mean((2, 3))


def test_what_cannot_be_folded_stays():
    torch.manual_seed(0)
    classifier = Classifier(Twice(), size=8)
    network, (logits, _) = classifier.network, answers(classifier)
    assert fold_batch_norms(classifier).network is network
    assert torch.equal(answers(classifier)[0], logits)
