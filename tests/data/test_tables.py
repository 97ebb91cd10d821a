"""Values of users' tables are looked at where they are read."""

import pytest
from PIL import Image

from fido.data.boxes import BoxedPhotos
from fido.data.imagenet import ImageNetValidation

HEAD = "file,class_index,xmin,ymin,xmax,ymax"


def entries(tmp_path, *rows, head=HEAD, encoding="utf-8"):
    (tmp_path / "boxes.csv").write_text("\n".join([head, *rows]), encoding=encoding)
    return BoxedPhotos(str(tmp_path), size=(8, 8)).entries()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.png,1,8,12,20,28", "divide pixels by width"),
        ("a.png,1,0.42,0.7,0.17,0.3", "xmin < xmax"),
        ("a.png,1,nan,0.3,0.4,0.7", "fractions"),
        ("a.png,1,0.1,0.3,inf,0.7", "fractions"),
        ("a.png,1,-0.2,0.3,0.4,0.7", "fractions"),
        ("a.png,1,0.2,0.3,0.2,0.7", "xmin < xmax"),
        ("a.png,1,0.1,0.3,0.4,1.2", "fractions"),
        ("a.png,1,0.1,0.1,0.5", "no ymax, expected 6 values"),
        ("a.png", "no class_index"),
        ("a.png,1,0.1,,0.5,0.5", "no ymin"),
        ("a.png,cat,0.1,0.1,0.5,0.5", "'cat'"),
        ("a.png,1.5,0.1,0.1,0.5,0.5", "'1.5' is no class index, expected a whole number"),
        ("a.png,nan,0.1,0.1,0.5,0.5", "'nan' is no class index"),
        ("a.png,1_0,0.1,0.1,0.5,0.5", "'1_0' is no class index"),
        ("a.png,99999999999999999999,0.1,0.1,0.5,0.5", "is no class index"),
        ("a.png,1,0,0,0_1,1", "'0_1'"),
        ("b.png,1,0.1,0.1,0.5,0.5", "class 1 of a file of class 0"),
        ("./b.png,1,0.1,0.1,0.5,0.5", "class 1 of a file of class 0"),
        ("a.png,1,0,0,1,1" + "9" * 200_000, "field larger"),
        ("a.png,1,left,0.1,0.5,0.5", "'left'"),
    ],
)
def test_a_row_that_is_no_box_is_refused_with_its_line(tmp_path, row, words):
    with pytest.raises(ValueError, match=rf"boxes\.csv, line 3: .*{words}"):
        entries(tmp_path, "b.png,0,0.1,0.1,0.5,0.5", row)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tables_of_excel_and_edges_of_the_image_are_read(tmp_path, encoding):
    (entry,) = entries(tmp_path, "ä.png,1,0,0,1,1.0000001", encoding=encoding)
    assert entry.boxes == ((0, 0, 1, 1),)
    assert entry.path.name == "ä.png"


def test_a_column_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="no column 'ymax'"):
        entries(tmp_path, head="file,class_index,xmin,ymin,xmax")


@pytest.mark.parametrize("box", ["20 10 8 30", "nan 1 2 3", "-4 1 2 3"])
def test_boxes_of_imagenet_are_looked_at_too(tmp_path, box):
    Image.new("RGB", (40, 40)).save(tmp_path / "x.JPEG")
    (tmp_path / "boxes.csv").write_text(f"ImageId,PredictionString\nx,n01440764 {box}\n")
    source = ImageNetValidation(str(tmp_path), str(tmp_path / "boxes.csv"), size=(8, 8))
    with pytest.raises(ValueError, match="a box that is none"):
        source.entries()


def test_one_file_by_two_names_is_one_image_and_whole_floats_are_labels(tmp_path):
    (entry,) = entries(tmp_path, "a.png,3.0,0,0,0.5,1", "./a.png, 3,0.5,0,1,1")
    assert (entry.id, entry.label, len(entry.boxes)) == ("a", 3, 2)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_table_in_another_encoding_is_named(tmp_path, encoding):
    with pytest.raises(ValueError, match=r"boxes\.csv: not in UTF-8"):
        entries(tmp_path, "caf\xe9.png,1,0,0,1,1", encoding=encoding)


def test_two_columns_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two columns 'xmin'"):
        entries(tmp_path, "a.png,1,0,0,1,1,0.5", head=f"{HEAD},xmin")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("ImageId\nx\n", "no column 'PredictionString'"),
        ("ImageId,PredictionString\nx\n", "x has 0 words"),
        ("ImageId,PredictionString\nx,n01440764 a 1 2 3\n", "line 2: .*'a'"),
        ("ImageId,PredictionString\nx,n01440764 0 0 inf 3\n", "a box that is none"),
        ("ImageId,PredictionString\n" + "x,n01440764 0 0 2 3\n" * 2, "line 3: x for the second"),
    ],
)
def test_other_tables_than_kaggles_are_refused_in_words(tmp_path, table, words):
    Image.new("RGB", (40, 40)).save(tmp_path / "x.JPEG")
    (tmp_path / "boxes.csv").write_text(table)
    source = ImageNetValidation(str(tmp_path), str(tmp_path / "boxes.csv"), size=(8, 8))
    with pytest.raises(ValueError, match=rf"boxes\.csv.*{words}"):
        source.entries()
