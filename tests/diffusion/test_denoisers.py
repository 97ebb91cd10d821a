import pytest
import torch
from safetensors.torch import save_file

from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.denoisers.empirical import EmpiricalDenoiser
from fido.diffusion.denoisers.trained import TrainedDenoiser
from fido.diffusion.schedule import add_noise, noise_from_x0
from fido.networks.patched_unet import PatchedUNet


def images(n=6, side=4, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def trained(tmp_path, labels=(7, 3), size=(16, 16), **options):
    torch.manual_seed(0)
    shape = {"classes": 2, "channels": (8, 16), "blocks": 1, "patch": 2, "embedding": 16}
    source = PatchedUNet(**shape, groups=4)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    save_file(source.state_dict(), tmp_path / "net.safetensors")
    network = PatchedUNet(**shape, groups=4)
    denoiser = TrainedDenoiser(network, tmp_path / "net.safetensors", size, labels, **options)
    return denoiser, source


class Nothing(Denoiser):
    """Takes every image for one without noise."""

    def noise(self, x_t, alpha_bar, classes=None):
        return noise_from_x0(x_t, alpha_bar, x_t)


# --- classes by name


def test_classes_are_those_of_the_classifier_with_their_names(tmp_path):
    denoiser, _ = trained(tmp_path, labels=("church", "golf ball"))
    every = torch.arange(4)
    assert not denoiser.knows(every).any()  # nobody has said what the classes are called
    denoiser.name_classes(["tench, Tinca tinca", "golf ball", "gas pump", "church, building"])
    assert denoiser.knows(every).tolist() == [False, True, False, True]
    x = torch.randn(2, 3, 16, 16)
    mine = denoiser.x0(x, 0.5, torch.tensor([3, 1]))
    by_index, _ = trained(tmp_path, labels=(3, 1))
    assert torch.equal(mine, by_index.x0(x, 0.5, torch.tensor([3, 1])))


def test_another_classifier_whose_classes_have_other_names_is_not_taken_for_imagenet(tmp_path):
    """By place alone a network of two diseases would be pushed towards a tench."""
    denoiser, _ = trained(tmp_path, labels=("tench", "church"))
    denoiser.name_classes(["effusion", "cardiomegaly"])
    assert not denoiser.knows(torch.arange(2)).any()
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(denoiser.x0(x, 0.5, torch.tensor([0])), denoiser.x0(x, 0.5))


def test_one_denoiser_serves_two_classifiers(tmp_path):
    shared, _ = trained(tmp_path, labels=("church", "golf ball"))
    one = shared.of_classes(["golf ball", "church"])
    other = shared.of_classes(["effusion", "golf ball"])
    every = torch.arange(2)
    assert one.knows(every).tolist() == [True, True]
    assert other.knows(every).tolist() == [False, True]
    assert not shared.knows(every).any()
    assert one.network is other.network is shared.network


def test_indices_stay_what_they_are(tmp_path):
    denoiser, _ = trained(tmp_path, labels=(7, 3))
    denoiser.name_classes(["a", "b", "c", "d"])
    assert denoiser.knows(torch.tensor([7, 3, 0])).tolist() == [True, True, False]


# --- lifting to the classifier's size


def test_no_change_lifts_to_the_very_image():
    denoiser = Nothing((8, 8))
    image = (images(3, 28) * 255).round() / 255
    lifted = denoiser.lift(image, denoiser.shrink(image))
    assert torch.equal(lifted, image)
    assert torch.equal((lifted * 255).round().byte(), (image * 255).round().byte())


def test_a_change_is_added_where_it_was_made():
    denoiser = Nothing((8, 8))
    image = torch.full((1, 3, 32, 32), 0.5)
    x0 = denoiser.shrink(image)
    x0[:, 0, 2:4, 2:4] += 0.25
    change = denoiser.lift(image, x0) - image
    assert change[0, 0, 10:14, 10:14].mean() == pytest.approx(0.25, abs=0.06)
    # Bicubic interpolation reaches two of the small pixels far.
    change[0, 0, :24, :24] = 0
    assert change.abs().max() == 0


def test_replacing_loses_what_the_denoiser_does_not_see():
    image = images(1, 32)
    small = Nothing((8, 8), lift="replace")
    lifted = small.lift(image, small.shrink(image))
    assert (lifted - image).abs().mean() > 0.1
    same = Nothing((32, 32), lift="replace")
    assert torch.equal(same.lift(image, same.shrink(image)), image)


def test_at_the_denoisers_size_the_estimate_is_taken_as_it_is():
    for mode in ("residual", "replace"):
        denoiser = Nothing((16, 16), lift=mode)
        assert torch.equal(denoiser.lift(images(2, 16), images(2, 16, 1)), images(2, 16, 1))


def test_lifting_lets_gradients_through_and_stays_in_range():
    denoiser = Nothing((8, 8))
    image, x0 = images(2, 24), images(2, 8, 1).requires_grad_()
    lifted = denoiser.lift(image, x0)
    assert lifted.min() >= 0
    assert lifted.max() <= 1
    lifted.sum().backward()
    assert x0.grad.abs().sum() > 0


def test_scales_go_back_and_forth():
    image = images(2)
    torch.testing.assert_close(Denoiser.decode(Denoiser.encode(image)), image)
    assert Denoiser.encode(torch.tensor([0.0, 1.0])).tolist() == [-1.0, 1.0]
    assert Denoiser.decode(torch.tensor([-3.0, 3.0])).tolist() == [0.0, 1.0]


# --- the exact denoiser


def slow_expectation(x_t, alpha_bar, photos, bandwidth):
    """E[x_0 | x_t], one image and one photo at a time, by Gaussian conditioning."""
    result = []
    for x in x_t.double():
        spread = 1 - alpha_bar + alpha_bar * bandwidth**2
        weights, estimates = [], []
        for photo in photos.double() * 2 - 1:
            off = x - alpha_bar**0.5 * photo
            weights.append(-float(off.square().sum()) / (2 * spread))
            estimates.append(photo + alpha_bar**0.5 * bandwidth**2 / spread * off)
        share = torch.tensor(weights, dtype=torch.float64).softmax(0)
        result.append(sum(s * e for s, e in zip(share, estimates, strict=True)))
    return torch.stack(result).float()


@pytest.mark.parametrize("bandwidth", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("alpha_bar", [0.01, 0.3, 0.9])
def test_the_exact_denoiser_is_the_conditional_expectation(bandwidth, alpha_bar):
    photos = images()
    noise = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    x_t = add_noise(photos[:4] * 2 - 1, alpha_bar, noise)
    denoiser = EmpiricalDenoiser(photos, bandwidth=bandwidth)
    expected = slow_expectation(x_t, alpha_bar, photos, bandwidth)
    torch.testing.assert_close(denoiser.x0(x_t, alpha_bar), expected, atol=1e-5, rtol=1e-4)
    epsilon = (x_t - alpha_bar**0.5 * expected) / (1 - alpha_bar) ** 0.5
    torch.testing.assert_close(denoiser.noise(x_t, alpha_bar), epsilon, atol=1e-5, rtol=1e-4)
    levels = torch.full((4,), alpha_bar)
    torch.testing.assert_close(denoiser.x0(x_t, levels), expected, atol=1e-5, rtol=1e-4)


def test_noise_is_the_score_of_the_mixture():
    """noise = -sqrt(1 - alpha_bar) * gradient of log p(x_t) (Tweedie), by autograd."""
    photos, bandwidth, alpha_bar = images(), 0.3, 0.6
    x_t = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3)).double()
    x_t.requires_grad_()
    spread = 1 - alpha_bar + alpha_bar * bandwidth**2
    off = x_t.flatten(1)[:, None] - alpha_bar**0.5 * (photos.double() * 2 - 1).flatten(1)
    density = (-off.square().sum(2) / (2 * spread)).logsumexp(1).sum()
    (score,) = torch.autograd.grad(density, x_t)
    found = EmpiricalDenoiser(photos, bandwidth=bandwidth).noise(x_t.detach(), alpha_bar)
    torch.testing.assert_close(found, -((1 - alpha_bar) ** 0.5) * score, atol=1e-8, rtol=1e-6)


def test_little_noise_gives_the_nearest_image_and_much_the_mean():
    photos = images()
    denoiser = EmpiricalDenoiser(photos)
    x_t = add_noise(photos[2:3] * 2 - 1, 0.9999, torch.randn(1, 3, 4, 4))
    torch.testing.assert_close(denoiser.decode(denoiser.x0(x_t, 0.9999)), photos[2:3])
    mean = denoiser.decode(denoiser.x0(torch.zeros(1, 3, 4, 4), 1e-7))
    torch.testing.assert_close(mean[0], photos.mean(0), atol=1e-2, rtol=0)


def test_given_a_class_only_its_images_count():
    photos = images()
    denoiser = EmpiricalDenoiser(photos, labels=[5, 5, 5, 9, 9, 9], bandwidth=0.2)
    x_t = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(4))
    classes = torch.tensor([5, 9, -1, 100])
    found = denoiser.noise(x_t, 0.5, classes)
    wanted = [
        EmpiricalDenoiser(part, bandwidth=0.2).noise(x_t[i : i + 1], 0.5)
        for i, part in enumerate([photos[:3], photos[3:], photos, photos])
    ]
    torch.testing.assert_close(found, torch.cat(wanted))
    assert denoiser.knows(classes).tolist() == [True, True, False, False]


def test_exact_gradients_flow_to_the_noisy_image():
    denoiser = EmpiricalDenoiser(images(3, 2), bandwidth=0.4)
    x_t = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: denoiser.noise(x, 0.6), x_t)


# --- the trained one


def test_a_trained_network_denoises_and_is_told_the_class(tmp_path):
    denoiser, network = trained(tmp_path)
    x_t = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    classes = torch.tensor([3, 7, 0, -1])
    level = torch.full((4,), 0.6)
    wanted = network(x_t, level, torch.tensor([1, 0, 2, 2]))
    torch.testing.assert_close(denoiser.x0(x_t, 0.6, classes), wanted)
    epsilon = (x_t - 0.6**0.5 * wanted) / 0.4**0.5
    torch.testing.assert_close(denoiser.noise(x_t, level, classes), epsilon)
    torch.testing.assert_close(denoiser.x0(x_t, 0.6), network(x_t, level, torch.full((4,), 2)))
    assert denoiser.knows(classes).tolist() == [True, True, False, False]
    assert not any(p.requires_grad for p in denoiser.parameters())


def test_gradients_flow_through_a_trained_network(tmp_path):
    denoiser, _ = trained(tmp_path)
    x_t = torch.randn(1, 3, 16, 16, requires_grad=True)
    denoiser.noise(x_t, 0.5, torch.tensor([7])).square().sum().backward()
    assert x_t.grad.abs().sum() > 0


def test_what_does_not_fit_is_refused_in_words(tmp_path):
    for options, message in [
        ({"size": (18, 16)}, "multiples of 4 px"),
        ({"labels": (1, 2, 3)}, "must name 2 classes"),
        ({"lift": "stretch"}, "residual or replace"),
        ({"lowest_alpha_bar": 1.0}, r"lowest_alpha_bar must be in \[0, 1\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            trained(tmp_path, **options)
    with pytest.raises(ValueError, match="bandwidth"):
        EmpiricalDenoiser(images(), bandwidth=-1.0)
    with pytest.raises(ValueError, match="6 images need as many labels"):
        EmpiricalDenoiser(images(), labels=[1])
    with pytest.raises(ValueError, match="m >= 1"):
        EmpiricalDenoiser(images()[:0])
