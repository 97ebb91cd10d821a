import pytest
import torch

from fido.diffusion.guidance import (
    angle,
    cone,
    consensus,
    gate,
    length,
    lp_direction,
    match_norm,
    rms,
    strongest_pixels,
    unit,
)


def directions(n=5, seed=0):
    return torch.randn(n, 3, 6, 7, generator=torch.Generator().manual_seed(seed))


# --- lengths


def test_a_matched_direction_has_the_reference_length_and_the_same_way():
    gradient, noise = directions(), directions(seed=1)
    matched = match_norm(gradient, noise)
    torch.testing.assert_close(matched.flatten(1).norm(dim=1), noise.flatten(1).norm(dim=1))
    assert angle(matched, gradient).max() < 1e-3


@pytest.mark.parametrize("size", [1e-38, 1e-23, 1e20])
def test_gradients_of_any_size_have_a_direction(size):
    """Their squares are 0 or infinite in float32."""
    gradient = directions(2) * size
    assert rms(match_norm(gradient, torch.ones_like(gradient))).tolist() == pytest.approx([1, 1])


def test_no_direction_stays_none_and_leaves_the_others():
    gradient = directions(2)
    gradient[0] = 0
    matched = match_norm(gradient, directions(2, 1))
    assert matched[0].abs().max() == 0
    assert matched.isfinite().all()
    assert matched[1].abs().max() > 0


def test_relative_to_the_first_step_a_push_fades_with_its_gradient():
    gradient, reference = directions(), directions(seed=1)
    first = length(gradient)
    faded = match_norm(0.1 * gradient, reference, first)
    torch.testing.assert_close(faded, 0.1 * match_norm(gradient, reference))
    assert match_norm(gradient, reference, torch.zeros_like(first)).isfinite().all()


# --- the cone


@pytest.mark.parametrize("degrees", [5.0, 30.0, 80.0])
def test_outside_of_the_cone_the_result_is_on_its_surface(degrees):
    explained = directions()
    guide = directions(seed=1) - 0.2 * explained
    assert angle(explained, guide).min() > 80
    result = cone(explained, guide, degrees)
    assert angle(result.double(), explained).tolist() == pytest.approx([degrees] * 5, abs=1e-3)
    # The shortest way: nothing on the surface is nearer to the guide.
    assert angle(result, guide).tolist() == pytest.approx(
        (angle(explained, guide) - degrees).tolist(), abs=1e-3
    )
    assert result.flatten(1).norm(dim=1).tolist() == pytest.approx([1] * 5, abs=1e-5)


def test_a_guide_in_the_cone_stays():
    explained = directions()
    guide = explained + 0.2 * directions(seed=1)
    assert angle(explained, guide).max() < 20
    torch.testing.assert_close(cone(explained, guide, 20), unit(guide).float())


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
def test_parallel_opposite_and_no_guide_leave_the_explained_direction(factor):
    explained = directions()
    result = cone(explained, factor * explained, 30)
    torch.testing.assert_close(result, unit(explained).float(), atol=1e-6, rtol=0)


def test_a_guide_alone_pushes_nothing():
    assert cone(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4), 30).abs().max() == 0


def test_small_angles_are_exact():
    a = directions().double()
    b = a + 1e-7 * unit(directions(seed=1).double()) * length(a)
    assert (angle(a, b) > 1e-6).all()
    assert (angle(a, b) < 1e-5).all()
    assert angle(a, 0 * a).tolist() == [90] * 5


def test_an_impossible_angle_is_refused():
    with pytest.raises(ValueError, match="0 to 90"):
        cone(directions(), directions(), 91)
    with pytest.raises(ValueError, match="0 to 180"):
        consensus(directions(), directions(), -1)


# --- consensus, distances, gate, strongest pixels


def test_consensus_keeps_the_pixels_that_agree():
    gradient = torch.zeros(1, 3, 1, 4)
    gradient[0, 0] = 1
    implied = torch.zeros_like(gradient)
    implied[0, 0, 0] = torch.tensor([2.0, 1.0, -1.0, 0.0])
    implied[0, 1, 0] = torch.tensor([0.0, 1.0, 0.0, 0.0])  # 0, 45, 180 degrees, nothing
    assert consensus(gradient, implied, 50)[0, 0, 0].tolist() == [1, 1, 0, 0]
    assert consensus(gradient, implied, 40)[0, 0, 0].tolist() == [1, 0, 0, 0]
    assert consensus(gradient, implied, 180)[0, 0, 0].tolist() == [1, 1, 1, 0]


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0])
def test_the_distance_direction_is_the_gradient(p):
    difference = directions().double().requires_grad_()
    difference.abs().pow(p).sum().backward()
    torch.testing.assert_close(lp_direction(difference.detach(), p), difference.grad)
    assert lp_direction(torch.zeros(1), p).item() == 0


def test_powers_below_one_are_refused():
    with pytest.raises(ValueError, match="1 or more"):
        lp_direction(directions(), 0.5)


def test_the_gate_closes_where_the_class_is_reached():
    probability = torch.tensor([0.1, 0.9, 0.95, torch.nan])
    assert gate(probability, 0.9).tolist() == [True, False, False, True]
    assert gate(probability, None).all()


def test_the_strongest_pixels_are_as_many_as_asked_for():
    gradient = directions()
    chosen = strongest_pixels(gradient, 0.25)
    assert chosen.flatten(1).sum(1).tolist() == [round(42 / 4)] * 5
    strength = gradient.abs().sum(1, keepdim=True)
    assert (
        strength[chosen].view(5, -1).amin(1)
        >= strength.where(~chosen, -1.0 + 0 * strength).flatten(1).amax(1)
    ).all()
    assert strongest_pixels(torch.zeros(1, 3, 4, 4), 0.5).sum() == 0
