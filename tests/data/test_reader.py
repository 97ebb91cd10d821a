"""One reader of photos: deep images, formats of extras, damaged and too large files."""

import logging
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

import fido.data.depth as depth
from fido.data.depth import eight_bits, limits
from fido.data.folder import FolderPhotos
from fido.data.photo import UnreadableImageError, open_photo
from fido.training.data import cached_files, cached_photos, decode

RAMP = np.linspace(0, 1, 48 * 40, dtype=np.float32).reshape(40, 48)


@pytest.fixture(autouse=True)
def _nothing_said_yet():
    depth._said.clear()


def read(values, tmp_path, name="x.tif", **options):
    Image.fromarray(values).save(tmp_path / name)
    return np.asarray(open_photo(tmp_path / name, **options)).astype(float)


def with_first(values, first):
    other = values.copy()
    other[0, 0] = first
    return other


@pytest.mark.parametrize(
    "values",
    [
        RAMP,
        with_first(RAMP, np.nan),
        with_first(RAMP, 1.0001),
        with_first(RAMP, np.inf),
        with_first(RAMP, -np.inf),
        with_first(RAMP, 900.0),
        with_first(RAMP, -0.3),
        RAMP * 255,
        RAMP * 1023,
        RAMP * 4095,
        RAMP * 65535,
        2 * RAMP - 1,
        (RAMP * 255).astype(np.uint16),
        (RAMP * 1023).astype(np.uint16),
        (RAMP * 4095).astype(np.uint16),
        with_first((RAMP * 4095).astype(np.uint16), 65535),
        (RAMP * 65535).astype(np.uint16),
        (RAMP * 65535).astype(np.int32),
        (RAMP * 4000 - 1000).astype(np.int32),  # Hounsfield units
        RAMP * 3000 - 1000,
        RAMP * 1e6,
    ],
)
def test_a_ramp_is_a_ramp_in_every_depth(values, tmp_path):
    pixels = read(values, tmp_path)[..., 0].ravel()
    expected = np.linspace(0, 255, len(pixels))
    assert np.abs(pixels[1:] - expected[1:]).max() < 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((RAMP * 4095).astype(np.uint16), "values of 12 bits"),
        ((RAMP * 255).astype(np.uint16), "values of 8 bits"),
        (RAMP * 4095, "values of 12 bits"),
        ((RAMP * 4000 - 1000).astype(np.int32), "negative values"),
        (RAMP * 1e6, "beyond 16 bits"),
        (2 * RAMP - 1, "-1 to 1"),
        (RAMP, None),
        ((RAMP * 65535).astype(np.uint16), None),
        (RAMP * 255, None),
    ],
)
def test_what_is_taken_as_what_is_said_once(values, said, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        read(values, tmp_path)
        read(values, tmp_path)
    assert len(caplog.records) == (said is not None)
    assert said is None or (said in caplog.text and "x.tif" in caplog.text)


def test_a_range_is_kept_to(tmp_path):
    values = (RAMP * 4000 - 1000).astype(np.int32)
    hounsfield = np.linspace(-1000, 3000, values.size)
    for chosen in ([-160, 240], "400/40"):
        pixels = read(values, tmp_path, range=chosen)[..., 0].ravel()
        expected = np.clip((hounsfield + 160) / 400, 0, 1) * 255
        assert np.abs(pixels - expected).max() < 2
    assert limits(RAMP.astype(float), "80/40", False) == (0.0, 80.0)


@pytest.mark.parametrize("wrong", ["full", [1], [5, 5], [9, 3], "0/40", "-4/40", "a/b", [1, 2, 3]])
def test_a_range_that_is_none_is_a_setting_s_fault(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"data\.range") as error:
        read(RAMP, tmp_path, range=wrong)
    assert not isinstance(error.value, UnreadableImageError)


def test_a_picture_without_a_number_is_an_unreadable_one(tmp_path):
    with pytest.raises(UnreadableImageError, match="no pixel is a finite number"):
        read(np.full((2, 3), np.nan, np.float32), tmp_path)
    assert eight_bits(np.full((2, 3), np.nan), [0, 1]).max() == 0


def write_png16(path, values):
    """(h, w, channels) uint16 as PNG, which Pillow writes in grey only."""
    height, width, channels = values.shape
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def colours(values, alpha=None):
    """The ramp in red, backwards in green, constant in blue."""
    parts = [values, values[::-1, ::-1], np.full_like(values, values[20, 0])]
    return np.stack(parts if alpha is None else [*parts, np.full_like(values, alpha)], -1)


TWELVE, SIXTEEN = ((RAMP * top).astype(np.uint16) for top in (4095, 65535))


@pytest.mark.parametrize("suffix", ["png", "tif", "zip.tif", "planes.tif"])
@pytest.mark.parametrize(
    ("values", "alpha"), [(TWELVE, None), (SIXTEEN, None), (TWELVE, 65535), (SIXTEEN, 32768)]
)
def test_deep_colours_are_read_whole(values, alpha, suffix, tmp_path):
    path, pixels = tmp_path / f"x.{suffix}", colours(values, alpha)
    if suffix == "png":
        write_png16(path, pixels)
    else:
        planes = suffix.startswith("planes")
        tifffile.imwrite(
            path,
            np.moveaxis(pixels, -1, 0) if planes else pixels,
            photometric="rgb",
            planarconfig="separate" if planes else "contig",
            compression="zlib" if suffix.startswith("zip") else None,
            extrasamples=None if alpha is None else ["unassalpha"],
        )
    found = np.asarray(open_photo(path)).astype(float)
    opaque = 1 if alpha is None else alpha / 65535
    expected = 255 * (opaque * colours(RAMP) + 1 - opaque)
    assert np.abs(found - expected).max() < 3


@pytest.mark.parametrize(
    "values",
    [
        RAMP.astype(np.float64),
        RAMP.astype(np.float16),
        colours(RAMP),
        (RAMP * 4000 - 1000).astype(np.int16),
        (RAMP.astype(float) * 4e9).astype(np.uint32),
    ],
)
@pytest.mark.parametrize("inverted", [False, True])
def test_tiff_files_that_pillow_cannot_read(values, inverted, tmp_path):
    if inverted and values.ndim == 3:
        pytest.skip("only grey may be inverted")
    kind = "rgb" if values.ndim == 3 else "miniswhite" if inverted else "minisblack"
    tag = (274, "H", 1, 6, True)  # turned by EXIF
    tifffile.imwrite(tmp_path / "x.tif", values, photometric=kind, extratags=[tag])
    found = np.asarray(open_photo(tmp_path / "x.tif")).astype(float)
    expected = 255 * (colours(RAMP) if values.ndim == 3 else np.stack([RAMP] * 3, -1))
    expected = np.rot90(255 - expected if inverted else expected, -1)
    assert np.abs(found - expected).max() < 3


def test_bands_that_are_no_colours_are_refused_in_words(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((40, 48, 5), np.uint16), planarconfig="contig")
    with pytest.raises(UnreadableImageError, match=r"expected one picture, grey or RGB"):
        open_photo(tmp_path / "x.tif")


def test_a_too_large_picture_is_an_unreadable_one(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImageError, match=r"large\.png is too large"):
        open_photo(tmp_path / "large.png")


def test_training_reads_photos_as_explaining_does(tmp_path):
    grey = Image.fromarray(np.tile(np.linspace(0, 255, 48), (48, 1)).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    grey.convert("RGB").save(tmp_path / "sideways.png", exif=exif)
    Image.merge("LA", (grey, Image.new("L", grey.size, 0))).save(tmp_path / "transparent.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 16).save(tmp_path / "twelve.png")
    for path in tmp_path.glob("*.png"):
        assert np.array_equal(decode(path, 48), np.asarray(open_photo(path)))
    deep = decode(tmp_path / "twelve.png", 48, [0, 65535])
    assert deep.max() == 16


@pytest.fixture
def with_a_broken_one(tmp_path):
    for name in "acd":
        Image.new("RGB", (8, 8), (ord(name), 0, 0)).save(tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    return tmp_path


def test_on_error_is_heard_by_training(with_a_broken_one, tmp_path, caplog):
    def source(on_error):
        return FolderPhotos(str(with_a_broken_one), size=(8, 8), on_error=on_error)

    images, names, files = cached_photos(source("skip"), 8, tmp_path / "cache")
    assert names == ["a.png", "c.png", "d.png"]
    assert [path.name for path in files] == names
    assert images[:, 0, 0, 0].tolist() == [ord("a"), ord("c"), ord("d")]
    assert "1 of 4 photos are skipped" in caplog.text
    again, _, _ = cached_photos(source("skip"), 8, tmp_path / "cache")
    assert np.array_equal(again, images)
    for cache in ("cache", "other"):
        with pytest.raises(UnreadableImageError, match=r"b\.png"):
            cached_photos(source("stop"), 8, tmp_path / cache)
    with pytest.raises(UnreadableImageError, match="none of 1"):
        cached_files([tmp_path / "b.png"], tmp_path, 8, tmp_path / "none", on_error="skip")


def write_dicom(path, values, **fields):
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    file = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    file.Rows, file.Columns = values.shape[:2]
    file.SamplesPerPixel = 1 if values.ndim == 2 else 3
    file.PhotometricInterpretation = "MONOCHROME2" if values.ndim == 2 else "RGB"
    if values.ndim == 3:
        file.PlanarConfiguration = 0
    bits = values.dtype.itemsize * 8
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation = 0
    file.PixelData = values.tobytes()
    for name, value in fields.items():
        setattr(file, name, value)
    file.save_as(path, enforce_file_format=True)


def test_dicom(tmp_path):
    stored = (RAMP * 4000).astype(np.uint16)
    unit = {"RescaleSlope": 1, "RescaleIntercept": -1000}
    write_dicom(tmp_path / "ct.dcm", stored, **unit, WindowWidth=[400, 80], WindowCenter=[40, 10])
    hounsfield = np.linspace(-1000, 3000, stored.size)
    expected = np.clip((hounsfield + 160) / 400, 0, 1) * 255
    windowed = np.asarray(open_photo(tmp_path / "ct.dcm"))[..., 0].ravel().astype(float)
    assert np.abs(windowed - expected).max() < 2
    other = np.asarray(open_photo(tmp_path / "ct.dcm", [-1000, 3000]))[..., 1].ravel()
    assert np.abs(other.astype(float) - np.linspace(0, 255, stored.size)).max() < 2
    write_dicom(tmp_path / "x.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    assert np.asarray(open_photo(tmp_path / "x.dcm"))[0, 0].tolist() == [255] * 3
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_dicom(tmp_path / "rgb.dcm", colours)
    assert np.array_equal(np.asarray(open_photo(tmp_path / "rgb.dcm")), colours)
    (tmp_path / "broken.dcm").write_bytes(b"no dicom")
    with pytest.raises(UnreadableImageError, match=r"broken\.dcm"):
        open_photo(tmp_path / "broken.dcm")
    assert [e.id for e in FolderPhotos(str(tmp_path), size=(8, 8)).entries()] == [
        "broken",
        "ct",
        "rgb",
        "x",
    ]


def test_heic(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 48), (200, 40, 40)).save(tmp_path / "phone.heic")
    pixels = np.asarray(open_photo(tmp_path / "phone.heic"))
    assert pixels.shape == (48, 64, 3)
    assert np.abs(pixels.astype(int) - [200, 40, 40]).max() < 12


@pytest.mark.parametrize(("suffix", "extra"), [(".heic", "heic"), (".dcm", "dicom")])
def test_without_the_extra_files_are_named_and_counted(
    tmp_path, monkeypatch, caplog, suffix, extra
):
    monkeypatch.setattr("fido.data.formats.find_spec", lambda name: None)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for name in "bc":
        (tmp_path / f"{name}{suffix}").write_bytes(b"anything")
    source = FolderPhotos(str(tmp_path), size=(8, 8))
    assert [entry.id for entry in source.entries()] == ["a"]
    assert f"2 files ({suffix}) are left out: pip install 'fido-xai[{extra}]'" in caplog.text
    with pytest.raises(UnreadableImageError, match=rf"needs pip install 'fido-xai\[{extra}\]'"):
        open_photo(tmp_path / f"b{suffix}")


def test_what_would_fill_the_memory_is_not_decoded(tmp_path, monkeypatch):
    write_dicom(tmp_path / "x.dcm", np.zeros((4, 4), np.uint16), Rows=60000, Columns=60000)
    write_dicom(tmp_path / "y.dcm", np.zeros((4, 4), np.uint16), NumberOfFrames=10**9)
    values = np.zeros((4, 4, 9), np.uint16)
    tifffile.imwrite(tmp_path / "z.tif", values, photometric="minisblack", planarconfig="contig")
    monkeypatch.setattr("pydicom.Dataset.pixel_array", property(lambda self: 1 / 0))
    monkeypatch.setattr("tifffile.TiffPage.asarray", lambda self: 1 / 0)
    for name, words in (
        ("x.dcm", "too large"),
        ("y.dcm", "frames"),
        ("z.tif", "expected one picture"),
    ):
        with pytest.raises(UnreadableImageError, match=words):
            open_photo(tmp_path / name)


def test_a_deep_photo_takes_memory_for_itself_not_many_times(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (700, 500, 3)).astype(np.uint16)
    tracemalloc.start()
    grey = eight_bits(values)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(grey, np.round(values / 4095 * 255).astype(np.uint8))
    assert peak < 8 * values.nbytes
