"""Names of files go through Hydra's grammar as they are."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from fido.app.quoting import quoted, split_folders


@pytest.mark.parametrize(
    "name", ["photo (1).jpg", "a=b.jpg", "x,y.jpg", "it's.jpg", "写真.jpg", 'q".jpg']
)
def test_a_file_may_have_any_name(name, tmp_path):
    (tmp_path / name).touch()
    (word,) = quoted([f"data.path={tmp_path / name}"])
    (override,) = OverridesParser.create().parse_overrides([word])
    assert override.value() == str(tmp_path / name)
    assert not override.is_sweep_override()


def test_what_is_no_file_stays_for_hydra(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = [
        "-m",
        "infiller=ca,blur",
        "data.path='a b'",
        "metrics=[x]",
        "a=",
        "target=a b",
        "+x={a: 1}",
    ]
    assert quoted(line) == line
    (tmp_path / "plain.jpg").touch()
    assert quoted(["data.path=plain.jpg"]) == ["data.path=plain.jpg"]


def test_folders_with_commas_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b,c", "b", "d,e,f"):
        (tmp_path / name).mkdir()
    assert split_folders("a,b,c") == ["a", "b,c"]
    assert split_folders("b,a,d,e,f") == ["b", "a", "d,e,f"]
    assert split_folders("nowhere,a") == ["nowhere", "a"]
    line = ["store=a,b,c", "store=[x,y]", "store='{A: a}'", "store="]
    assert quoted(line) == ['store=["a","b,c"]', *line[1:]]
