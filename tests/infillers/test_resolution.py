import pytest
import torch

from fido.infillers.resolution import check_options, infill_at_resolution, resize_kept, working_size


def half_kept(h, w, seed=0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(2, 3, h, w, generator=generator)
    keep = (torch.rand(2, 1, h, w, generator=generator) > 0.5).float()
    return image, keep


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [
        ((224, 224), None, (224, 224)),
        ((225, 60), None, (232, 64)),
        ((224, 224), 256, (256, 256)),
        ((224, 224), 112, (112, 112)),
        ((240, 320), 256, (256, 344)),
        ((320, 240), 120, (160, 120)),
    ],
)
def test_working_size(size, resolution, expected):
    assert working_size(size, resolution) == expected


@pytest.mark.parametrize("resolution", [0, -8, 4, 100])
def test_resolution_must_be_a_multiple(resolution):
    with pytest.raises(ValueError, match=f"multiple of 8 pixels or null, got {resolution}"):
        check_options(resolution, None)


@pytest.mark.parametrize("target", [(32, 32), (16, 16), (24, 20), (40, 36), (32, 48)])
def test_dropped_pixels_have_no_part(target):
    image, keep = half_kept(32, 32)
    other = torch.where(keep == 1, image, 1 - image)
    for got, expected in zip(
        resize_kept(other, keep, target), resize_kept(image, keep, target), strict=True
    ):
        assert torch.equal(got, expected)


def test_halving_averages_the_kept_of_four():
    image, keep = half_kept(16, 16)
    small, kept = resize_kept(image, keep, (8, 8))
    for i in range(8):
        for j in range(8):
            cell = (slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2))
            for row in range(2):
                inside = keep[row, 0][cell] == 1
                assert kept[row, 0, i, j] == float(inside.any())
                if inside.any():
                    mean = image[row][:, cell[0], cell[1]][:, inside].mean(dim=1)
                    assert torch.allclose(small[row, :, i, j], mean, atol=1e-6)


@pytest.mark.parametrize("target", [(8, 8), (64, 64)])
def test_a_constant_stays_constant_and_all_dropped_stays_dropped(target):
    image, keep = half_kept(32, 32)
    resized, kept = resize_kept(torch.full_like(image, 0.7), keep, target)
    assert torch.allclose(resized, 0.7 * kept.expand_as(resized), atol=1e-6)
    assert resize_kept(image, torch.zeros_like(keep), target)[1].sum() == 0
    assert resize_kept(image, torch.ones_like(keep), target)[1].mean() == 1


def test_another_multiple_and_chunks():
    image, keep = torch.rand(5, 3, 24, 40), torch.ones(5, 1, 24, 40)
    seen = []

    def same(resized, keep):
        seen.append(tuple(resized.shape))
        return resized

    assert torch.equal(infill_at_resolution(same, image, keep, None, 2, multiple=16), image)
    assert seen == [(2, 3, 32, 48), (2, 3, 32, 48), (1, 3, 32, 48)]
    with pytest.raises(ValueError, match="multiple of 16 pixels"):
        check_options(24, None, multiple=16)
    with pytest.raises(ValueError, match="rows_per_pass must be at least 1"):
        check_options(None, 0)


@pytest.mark.parametrize("resolution", [None, 16, 32, 64])
@pytest.mark.parametrize("size", [(32, 32), (30, 45)])
def test_fill_comes_back_in_place(size, resolution):
    rows = torch.linspace(0, 1, size[0]).view(1, 1, -1, 1)
    columns = torch.linspace(0, 1, size[1]).view(1, 1, 1, -1)
    image = torch.cat([rows.expand(1, 1, *size), columns.expand(1, 1, *size)], 1)[:, [0, 1, 0]]
    seen = []

    def same(resized, keep):
        seen.append((*resized.shape, *keep.shape[1:]))
        return resized

    filled = infill_at_resolution(same, image, torch.ones(1, 1, *size), resolution)
    h, w = working_size(size, resolution)
    assert seen == [(1, 3, h, w, 1, h, w)]
    assert filled.shape == image.shape
    # Ramps survive any resize but for the outermost cells, which have half a cell of play.
    assert float((filled - image).abs().max()) < 0.5 / 16 + 1e-6
    if resolution is None:
        assert torch.equal(filled, image)
