import os

import numpy as np
import pytest
import torch
from PIL import Image

from fido.training.data import (
    BatchLoader,
    InTurn,
    RandomCrops,
    cached_files,
    centre_crops,
    split_by_name,
)


def write(folder, name, pixels):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for index in range(7):
        noise = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        write(folder, f"{index % 2}/{index}.png", noise)
    return folder


def cached(root, size, cache):
    return cached_files(sorted(root.rglob("*.png")), root, size, cache)


def test_an_image_of_the_right_size_is_stored_bit_for_bit(photos, tmp_path):
    images, names = cached(photos, 40, tmp_path / "cache")
    assert names == sorted(names)
    for stored, name in zip(images, names, strict=True):
        assert np.array_equal(stored, np.asarray(Image.open(photos / name)))


def test_other_sizes_are_resized_by_the_short_side_and_centre_cropped(tmp_path):
    pixels = np.zeros((60, 120, 3), np.uint8)
    pixels[:, 30:90] = 255  # the middle square
    write(tmp_path / "photos", "wide.png", pixels)
    write(tmp_path / "photos", "grey.png", np.full((20, 20), 7, np.uint8))
    images, names = cached(tmp_path / "photos", 30, tmp_path / "cache")
    assert images[names.index("wide.png")][:, 2:-2].min() > 250
    assert (images[names.index("grey.png")] == 7).all()


def test_the_cache_is_used_again_until_the_images_change(photos, tmp_path):
    cache = tmp_path / "cache"
    cached(photos, 40, cache)
    (file,) = cache.glob("*.npy")
    before = file.stat().st_mtime_ns
    cached(photos, 40, cache)
    assert file.stat().st_mtime_ns == before
    write(photos, "more.png", np.zeros((40, 40, 3), np.uint8))
    images, _ = cached(photos, 40, cache)
    assert len(images) == 8


def test_the_split_depends_on_names_only():
    names = [f"{i}.png" for i in range(50)]
    training, validation = split_by_name(names, 10)
    assert len(validation) == 10
    assert sorted(training + validation) == list(range(50))
    shuffled = names[::-1]
    again = split_by_name(shuffled, 10)[1]
    assert {shuffled[i] for i in again} == {names[i] for i in validation}
    with pytest.raises(ValueError, match="held_out"):
        split_by_name(names, 50)


def test_crops_are_parts_of_the_images_some_mirrored(photos, tmp_path):
    images, _ = cached(photos, 40, tmp_path / "cache")
    batch = RandomCrops(images, [2, 5], crop=24, batch_size=16, seed=3).batch(0)
    assert batch.shape == (16, 3, 24, 24)
    found = {False: 0, True: 0}
    for crop in (batch * 255).round().byte().permute(0, 2, 3, 1).numpy():
        for mirrored in found:
            wanted = crop[:, ::-1] if mirrored else crop
            views = (
                np.lib.stride_tricks.sliding_window_view(images[i], (24, 24, 3)) for i in (2, 5)
            )
            found[mirrored] += any((v == wanted).all((-1, -2, -3)).any() for v in views)
    assert sum(found.values()) == 16
    assert min(found.values()) > 0


def test_every_epoch_shows_every_image_once_in_another_order(photos, tmp_path):
    images, _ = cached(photos, 40, tmp_path / "cache")
    crops = RandomCrops(images, range(7), crop=40, batch_size=2, seed=0)
    shown = torch.cat([crops.batch(step) for step in range(7)])  # two epochs of 7 images
    means = (shown.mean((1, 2, 3)) * 1e4).round().tolist()
    assert sorted(means[:7]) == sorted(means[7:])
    assert len(set(means[:7])) == 7
    assert means[:7] != means[7:]


def test_a_batch_is_a_function_of_seed_and_step(photos, tmp_path):
    images, _ = cached(photos, 40, tmp_path / "cache")
    crops = RandomCrops(images, range(7), crop=24, batch_size=4, seed=0)
    late = crops.batch(5)
    crops.batch(0)
    assert torch.equal(late, crops.batch(5))
    other = RandomCrops(images, range(7), crop=24, batch_size=4, seed=1)
    assert not torch.equal(late, other.batch(5))


def test_streams_take_turns(photos, tmp_path):
    images, _ = cached(photos, 40, tmp_path / "cache")
    small = RandomCrops(images, range(7), crop=16, batch_size=4)
    large = RandomCrops(images, range(7), crop=40, batch_size=1)
    turns = InTurn([small, large])
    assert torch.equal(turns.batch(4), small.batch(2))
    assert torch.equal(turns.batch(5), large.batch(2))


def test_centre_crops_and_too_large_crops(photos, tmp_path):
    images, _ = cached(photos, 40, tmp_path / "cache")
    middle = centre_crops(images, [1], 20)
    assert torch.equal(
        (middle[0] * 255).byte(), torch.tensor(images[1][10:30, 10:30]).permute(2, 0, 1)
    )
    with pytest.raises(ValueError, match="crop of 41"):
        RandomCrops(images, range(7), crop=41, batch_size=1)


def test_a_loader_goes_on_with_the_batch_of_its_step():
    stream = RandomCrops(np.zeros((5, 8, 8, 3), np.uint8), range(5), 4, 2)
    heard = []

    def batch(step):
        heard.append(step)
        return stream.batch(step)

    loader = BatchLoader(batch, 3, 6)
    assert len(loader) == 6  # the three that were done count
    assert [tuple(images.shape) for images in loader] == [(2, 3, 4, 4)] * 3
    assert heard == [3, 4, 5]


def test_a_photo_of_the_same_size_and_time_is_another_photo(tmp_path):
    for folder, value in (("a/photos", 10), ("b/photos", 200)):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8), (value,) * 3).save(tmp_path / folder / "x.ppm")
        os.utime(tmp_path / folder / "x.ppm", ns=(0, 0))
    one, other = tmp_path / "a" / "photos", tmp_path / "b" / "photos"
    assert cached_files([one / "x.ppm"], one, 8, tmp_path / "cache")[0].max() == 10
    assert cached_files([other / "x.ppm"], other, 8, tmp_path / "cache")[0].max() == 200
    (one / "x.ppm").write_bytes((other / "x.ppm").read_bytes())
    os.utime(one / "x.ppm", ns=(0, 0))
    assert cached_files([one / "x.ppm"], one, 8, tmp_path / "cache")[0].max() == 200
