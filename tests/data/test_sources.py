from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from planted import write_photo

from fido.data.base import unique_ids
from fido.data.boxes import BoxedPhotos
from fido.data.folder import FolderPhotos
from fido.data.geometry import Geometry
from fido.data.imagenet import ImageNetValidation
from fido.data.photo import UnreadableImageError, open_photo
from fido.data.places365 import Places365Validation
from fido.data.samples import SamplePhotos

SIZE = (32, 40)


def test_a_random_order_is_that_of_the_seed_and_grows_with_the_limit(tmp_path):
    for i in range(12):
        write_photo(tmp_path / f"{i:02d}.png")

    def ids(**options):
        return [entry.id for entry in FolderPhotos(str(tmp_path), size=SIZE, **options).selected()]

    drawn = ids(random_order=0)
    assert sorted(drawn) == ids()
    assert drawn != ids()
    assert ids(random_order=1) != drawn
    assert ids(random_order=0, limit=5) == drawn[:5]
    (tmp_path / "new.png").write_bytes((tmp_path / "00.png").read_bytes())
    assert [one for one in ids(random_order=0) if one != "new"] == drawn


def dot_photo(width, height, x, y, radius=8):
    """A black photo with a white square around (x, y)."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y - radius : y + radius, x - radius : x + radius] = 255
    return Image.fromarray(pixels)


@pytest.mark.parametrize("resize", ["keep_aspect", "squash", "squash_crop"])
@pytest.mark.parametrize("shape", [(300, 200), (200, 300), (321, 123)])
@pytest.mark.parametrize("size", [(224, 224), (160, 224)])
def test_boxes_land_where_the_pixels_land(resize, shape, size):
    width, height = shape
    geometry = Geometry(size, resize, crop_fraction=0.875, interpolation="bilinear")
    x, y = width // 2 + 9, height // 2 - 7
    image = geometry.image(dot_photo(width, height, x, y))
    box = geometry.boxes(torch.tensor([[x - 8, y - 8, x + 8, y + 8]]), width, height)[0]
    rows, columns = (image[0] > 0.5).nonzero(as_tuple=True)
    seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    torch.testing.assert_close(box, seen.float(), atol=1.01, rtol=0)


def test_resize_256_crop_224_of_a_square_photo():
    photo = dot_photo(256, 256, 128, 128)
    image = Geometry((224, 224), "keep_aspect", 224 / 256, "bilinear").image(photo)
    cropped = torch.from_numpy(np.array(photo.crop((16, 16, 240, 240)))).permute(2, 0, 1) / 255
    torch.testing.assert_close(image, cropped, atol=1 / 255, rtol=0)


def test_squashed_to_256_and_cropped_to_224():
    photo = dot_photo(512, 256, 256, 128)
    image = Geometry((224, 224), "squash_crop", 224 / 256, "bilinear").image(photo)
    squashed = photo.resize((256, 256), Image.Resampling.BILINEAR).crop((16, 16, 240, 240))
    expected = torch.from_numpy(np.array(squashed)).permute(2, 0, 1) / 255
    torch.testing.assert_close(image, expected, atol=2 / 255, rtol=0)


def test_boxes_outside_the_crop_are_dropped_and_others_clipped():
    geometry = Geometry((100, 100), "keep_aspect", 1.0)
    boxes = torch.tensor([[0.0, 0, 20, 100], [40, 0, 90, 100], [0, 10, 200, 30]])
    kept = geometry.boxes(boxes, 200, 100)  # the crop takes columns 50 to 150
    torch.testing.assert_close(kept, torch.tensor([[0.0, 0, 40, 100], [0, 10, 100, 30]]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resize": "stretch"}, "keep_aspect, squash"),
        ({"crop_fraction": 0}, "crop_fraction"),
        ({"interpolation": "nearest"}, "bicubic"),
    ],
)
def test_wrong_geometry_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Geometry((8, 8), **arguments)


def gradient_image(mode):
    grey = np.tile(np.linspace(0, 1, 64), (48, 1))
    if mode == "I;16":
        return Image.fromarray((grey * 65535).astype(np.uint16))
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32), "F")
    eight = Image.fromarray(np.uint8(grey * 255)).convert("RGB")
    return eight.quantize(200) if mode == "P" else eight.convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        ("RGB", "png"),
        ("L", "png"),
        ("RGBA", "png"),
        ("LA", "png"),
        ("P", "png"),
        ("I;16", "png"),
        ("CMYK", "tiff"),
        ("F", "tiff"),
        ("1", "png"),
        ("RGB", "jpg"),
    ],
)
def test_every_mode_reads_as_the_same_rgb(tmp_path, mode, suffix):
    path = tmp_path / f"photo.{suffix}"
    gradient_image(mode).save(path)
    photo = open_photo(path)
    assert photo.mode == "RGB"
    pixels = np.asarray(photo).astype(float).mean((0, 2))
    tolerance = 130 if mode == "1" else 6
    assert np.abs(pixels - np.linspace(0, 255, 64)).max() < tolerance


def test_transparency_is_laid_over_white(tmp_path):
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    photo = np.asarray(open_photo(tmp_path / "half.png"))
    assert photo[:2].max() == 0
    assert photo[2:].min() == 255


def test_exif_rotation_is_applied(tmp_path):
    photo = dot_photo(60, 40, 10, 10)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 90 degrees clockwise
    photo.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    shown = open_photo(tmp_path / "turned.jpg")
    assert shown.size == (40, 60)
    assert np.asarray(shown)[10, 30].min() > 200


@pytest.mark.parametrize("content", [b"", b"GIF89a nonsense", b"\xff\xd8\xff\xe0 truncated jpeg"])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        open_photo(path)


def test_a_truncated_photo_is_an_error_not_a_grey_half(tmp_path):
    dot_photo(300, 300, 100, 100).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableImageError, match=r"cut\.png"):
        open_photo(tmp_path / "cut.png")


def test_folder_file_and_pattern(tmp_path):
    for name in ("b.png", "a.jpg", "sub/c.png", "sub/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        dot_photo(30, 30, 15, 15).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    ids = [entry.id for entry in FolderPhotos(str(tmp_path), size=SIZE).selected()]
    assert ids == ["a", "b", "sub__a", "sub__c"]
    assert [e.id for e in FolderPhotos(str(tmp_path / "a.jpg"), size=SIZE).selected()] == ["a"]
    pattern = FolderPhotos(str(tmp_path / "**" / "*.png"), size=SIZE)
    assert [entry.id for entry in pattern.selected()] == ["b", "sub__a", "sub__c"]
    by_root = FolderPhotos(root=str(tmp_path), size=SIZE).selected()
    assert by_root == FolderPhotos(str(tmp_path), size=SIZE).selected()
    for path, root in ((None, None), ("a.jpg", str(tmp_path))):
        with pytest.raises(ValueError, match=r"data\.path=PHOTO, PATTERN or FOLDER"):
            FolderPhotos(path, root, size=SIZE)
    sample = pattern.load(pattern.selected()[0])
    assert sample.image.shape == (3, *SIZE)
    assert sample.label is None


def test_ids_stay_unique_where_only_suffixes_differ(tmp_path):
    for name in ("a.png", "a.jpg"):
        dot_photo(30, 30, 15, 15).save(tmp_path / name)
    assert [e.id for e in FolderPhotos(str(tmp_path), size=SIZE).selected()] == ["a_jpg", "a_png"]


@pytest.mark.parametrize("path", ["nowhere", "nowhere/*.png", "."])
def test_folders_without_images_are_named(tmp_path, path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"data\.path"):
        FolderPhotos(path, size=SIZE).selected()


def test_selection():
    def ids(**arguments):
        return [entry.id for entry in SamplePhotos(size=SIZE, **arguments).selected()]

    assert ids() == ["coffee", "chelsea", "motorcycle", "china", "flower"]
    assert ids(index=-1) == ["flower"]
    assert ids(index=[3, 0]) == ["china", "coffee"]
    assert ids(ids=["flower", "coffee"], limit=1) == ["flower"]
    with pytest.raises(ValueError, match="there are 5"):
        ids(index=5)
    with pytest.raises(ValueError, match=r"tea.*coffee"):
        ids(ids=["tea"])
    with pytest.raises(ValueError, match="limit"):
        ids(limit=0)


def test_boxes_csv(tmp_path):
    (tmp_path / "images").mkdir()
    dot_photo(50, 50, 25, 25).save(tmp_path / "images" / "x.JPEG")
    header = "file,class_index,wnid,xmin,ymin,xmax,ymax\n"
    rows = "x.JPEG,472,n1,0.5,0.25,0.75,0.5\nx.JPEG,472,n1,0,0,1,1\n"
    (tmp_path / "boxes.csv").write_text(header + rows)
    source = BoxedPhotos(str(tmp_path), size=(40, 80), resize="squash")
    sample = source.load(source.selected()[0])
    assert (sample.id, sample.label) == ("x", 472)
    torch.testing.assert_close(sample.boxes, torch.tensor([[40.0, 10, 60, 20], [0, 0, 80, 40]]))


def test_boxes_csv_errors_name_the_line(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"boxes\.csv"):
        BoxedPhotos(str(tmp_path), size=SIZE).selected()
    (tmp_path / "boxes.csv").write_text("file,class_index,xmin,ymin,xmax\n")
    with pytest.raises(ValueError, match="ymax"):
        BoxedPhotos(str(tmp_path), size=SIZE).selected()
    (tmp_path / "boxes.csv").write_text("file,class_index,xmin,ymin,xmax,ymax\na,1,0,0,1,wide\n")
    with pytest.raises(ValueError, match=r"line 2.*wide"):
        BoxedPhotos(str(tmp_path), size=SIZE).selected()


def test_imagenet_validation_with_kaggle_boxes(tmp_path):
    (tmp_path / "val" / "n03063599").mkdir(parents=True)
    name = "ILSVRC2012_val_00000007"
    dot_photo(100, 80, 50, 40).save(tmp_path / "val" / "n03063599" / f"{name}.JPEG", "JPEG")
    solution = tmp_path / "LOC_val_solution.csv"
    solution.write_text(
        "ImageId,PredictionString\n"
        "ILSVRC2012_val_00000009,n01440764 1 2 3 4\n"
        f"{name},n03063599 10 20 60 70 n03063599 0 0 50 40\n"
    )
    source = ImageNetValidation(
        str(tmp_path / "val"), str(solution), size=(40, 50), resize="squash"
    )
    (entry,) = source.selected()
    assert (entry.id, entry.label) == (name, 504)  # coffee mug
    sample = source.load(entry)
    torch.testing.assert_close(sample.boxes, torch.tensor([[5.0, 10, 30, 35], [0, 0, 25, 20]]))
    solution.write_text("ImageId,PredictionString\nx,n99999999 1 2 3 4\n")
    with pytest.raises(ValueError, match="n99999999"):
        source.selected()


@pytest.mark.parametrize(
    ("files", "ids"),
    [
        (["a.png", "sub/a.png"], ["a", "sub__a"]),
        (["a.jpg", "a.png"], ["a_jpg", "a_png"]),
        (["x__y.png", "x/y.png"], ["x__y.png", "x/y.png"]),
        (["a.png", "a.jpg", "a_png.jpg"], ["a.png", "a_jpg", "a_png.jpg"]),
        (["x/a.png", "y/a.png"], ["x__a", "y__a"]),
    ],
)
def test_ids_of_a_source_are_different_whatever_its_files_are_called(files, ids):
    assert unique_ids([Path(file) for file in files]) == ids


def test_boxed_photos_of_one_name_in_two_folders_are_two_images(tmp_path):
    for folder in "xy":
        write_photo(tmp_path / "images" / folder / "a.png")
    lines = [f"{folder}/a.png,1,0.1,0.1,0.5,0.5" for folder in "xy"]
    head = "file,class_index,xmin,ymin,xmax,ymax"
    (tmp_path / "boxes.csv").write_text("\n".join([head, *lines]) + "\n")
    source = BoxedPhotos(str(tmp_path), size=SIZE)
    assert [entry.id for entry in source.selected()] == ["x__a", "y__a"]


def test_images_of_other_lists_have_ids_of_their_own_and_one_label(tmp_path):
    for name in ("a.jpg", "a.png"):
        write_photo(tmp_path / "val" / name)
    labels = tmp_path / "places365_val.txt"
    labels.write_text("a.jpg 3\n/a.png 4\na.jpg 3\n")
    source = Places365Validation(str(tmp_path / "val"), str(labels), size=SIZE)
    assert [(one.id, one.label) for one in source.selected()] == [("a_jpg", 3), ("a_png", 4)]
    labels.write_text("a.jpg 3\na.jpg 4\n")
    with pytest.raises(ValueError, match=r"line 2: another class of 'a\.jpg'"):
        source.selected()


def test_an_image_that_is_asked_for_twice_is_one_image(tmp_path):
    for name in "ab":
        write_photo(tmp_path / f"{name}.png")
    for options in ({"index": [0, 1, 0, -2]}, {"ids": ["a", "b", "a"]}):
        source = FolderPhotos(str(tmp_path), size=SIZE, **options)
        assert [entry.id for entry in source.selected()] == ["a", "b"]
