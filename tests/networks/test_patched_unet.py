import pytest
import torch

from fido.networks.patched_unet import PatchedUNet


def network(**options):
    torch.manual_seed(0)
    settings = {"classes": 2, "channels": (8, 16), "blocks": 1, "patch": 2, "embedding": 16}
    net = PatchedUNet(**settings | {"groups": 4} | options)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return net.eval()


def noisy(n=2, side=16):
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_untrained_it_is_the_best_estimate_that_sees_one_value_only():
    """For Gaussian values of variance s^2 that estimate has a closed form."""
    net = PatchedUNet(2, (8, 16), 1, 2, 16, groups=4, data_std=0.55)
    generator = torch.Generator().manual_seed(0)
    x0 = 0.55 * torch.randn(64, 3, 16, 16, generator=generator)
    for alpha_bar in (0.05, 0.5, 0.95):
        x_t = alpha_bar**0.5 * x0 + (1 - alpha_bar) ** 0.5 * noisy(64)
        levels = torch.full((64,), alpha_bar)
        estimate = net(x_t, levels, torch.zeros(64, dtype=torch.long))
        fitted = (x_t * x0).sum() / (x_t * x_t).sum() * x_t
        torch.testing.assert_close(estimate, fitted, atol=0.02, rtol=0.02)
        # What it misses has the scale that the residual is multiplied with.
        missed = (estimate - x0).std()
        torch.testing.assert_close(missed, net.residual_scale(levels)[0], atol=0, rtol=0.02)


def test_without_noise_the_image_comes_back():
    image = noisy().clamp(-1, 1)
    classes = torch.tensor([0, 2])
    assert torch.equal(network()(image, torch.ones(2), classes), image)


def test_images_of_a_batch_do_not_mix():
    net, x, alpha_bar = network(), noisy(3), torch.tensor([0.9, 0.5, 0.1])
    classes = torch.tensor([0, 1, 2])
    together = net(x, alpha_bar, classes)
    for i in range(3):
        alone = net(x[i : i + 1], alpha_bar[i : i + 1], classes[i : i + 1])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-4)


def test_class_and_noise_level_are_heard():
    net, x = network(), noisy(1)
    outputs = [
        net.residual(x, torch.tensor([level]), torch.tensor([label]))
        for level, label in [(0.5, 0), (0.5, 1), (0.5, 2), (0.9, 0), (0.99, 0)]
    ]
    for i, first in enumerate(outputs):
        for second in outputs[i + 1 :]:
            assert (first - second).abs().mean() > 1e-3


def test_it_takes_any_multiple_of_its_stride_and_says_so():
    net = network()
    assert net.stride == 4
    levels, classes = torch.tensor([0.5]), torch.tensor([0])
    assert net(torch.zeros(1, 3, 20, 12), levels, classes).shape == (1, 3, 20, 12)
    with pytest.raises(ValueError, match=r"multiples of 4 px .*got \(18, 12\)"):
        net(torch.zeros(1, 3, 18, 12), levels, classes)


def test_gradients_reach_every_parameter_and_the_input():
    net, x = network(), noisy().requires_grad_()
    net(x, torch.tensor([0.4, 0.8]), torch.tensor([0, 2])).square().mean().backward()
    assert x.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_channels_must_fit_the_groups():
    for channels in ((), (8, 10)):
        with pytest.raises(ValueError, match="multiples of 4"):
            network(channels=channels)
