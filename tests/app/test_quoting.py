"""Names of files go through Hydra's grammar as they are."""

import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf

from fido.app.instantiate import build
from fido.app.messages import explained
from fido.app.quoting import quoted, split_folders


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a.network._target_=f", "a.network.x=1"], ["a.network._target_=f", "++a.network.x=1"]),
        (["function.y=2", "function._target_=f"], ["++function.y=2", "function._target_=f"]),
        (["a.network.x=1"], ["a.network.x=1"]),  # no function of theirs: a misspelt setting
        (["a.network._target_=f", "a.size=1", "+a.network.x=1"],
         ["a.network._target_=f", "a.size=1", "+a.network.x=1"]),
        (["x=1", "-m", "y=2"], ["-m", "x=1", "y=2"]),
        (["x=1", "--config-dir", "a=b", "~z", "--cfg", "job"],
         ["--config-dir", "a=b", "--cfg", "job", "x=1", "~z"]),
    ],
)  # fmt: skip
def test_flags_come_first_and_arguments_of_a_function_are_new(words, expected):
    assert quoted(words) == expected


@pytest.mark.parametrize(
    "name",
    [
        "photo (1).jpg",
        "a=b.jpg",
        "x,y.jpg",
        "it's.jpg",
        "写真.jpg",
        'q".jpg',
        "[x].jpg",
        "{x}.jpg",
        "a${b}.jpg",
        "${oc.env:HOME}.jpg",
        "~x.jpg",
        "-dash.jpg",
        "a\\b.jpg",
        "back\\",
        'back\\".jpg',
        "50% & more #1; a|b!.jpg",
        "285",
        "1e3",
        "true",
        "null",
    ],
)
@pytest.mark.parametrize("relative", [True, False])
def test_a_file_may_have_any_name(name, relative, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    given = name if relative else str(tmp_path / name)
    assert read(f"data.path={given}") == given


def test_a_number_stays_one_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "2").mkdir()
    (tmp_path / "null").touch()
    assert read("explainer.steps=2") == 2
    assert read("data.limit=null") is None
    assert read("data.path=2") == "2"


def read(word):
    """What a run finds in its configuration."""
    (override,) = OverridesParser.create().parse_overrides(quoted([word]))
    assert not override.is_sweep_override()
    return OmegaConf.create({"a": override.value()}).a


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("data.ids=285", "285"),
        ("data.ids=photo (1)", "photo (1)"),
        ("data.ids=[001,1e3,true, a b]", ["001", "1e3", "true", "a b"]),
        ("data.ids=['x',\"y\"]", ["x", "y"]),
        ("classifier.class_names=[no,1,null]", ["no", "1", "null"]),
        ("hydra.run.dir=my run (2)", "my run (2)"),
    ],
)
def test_texts_are_texts(word, value):
    assert read(word) == value


@pytest.mark.parametrize("word", ["target=it's", "target=f(x", 'target=a"b', "target=[x] y"])
def test_an_error_shows_the_exact_quoting(word, monkeypatch):
    with pytest.raises(OverrideParseException) as raised:
        OverridesParser.create().parse_overrides(quoted([word]))
    words = explained(raised.value)
    (advised,) = shlex.split(words.partition("quoted twice: ")[2])
    assert read(advised) == word.partition("=")[2]


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


@pytest.mark.parametrize(
    "name", ["${oc.env:HOME}.jpg", "\\${x}.jpg", "a\\\\${x}${y}\\.jpg", "$x$.jpg"]
)
def test_a_name_is_not_replaced_on_its_way_into_a_source(name):
    escaped = re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + r"\${", name)
    node = OmegaConf.create(
        {"_target_": "builtins.dict", "path": escaped, "deep": [{"a": escaped}]}
    )
    assert node.path == name
    assert build(node) == {"path": name, "deep": [{"a": name}]}


def test_a_sweep_may_be_asked_for_anywhere_on_the_line():
    assert quoted(["a=1", "-m", "b=1,2"]) == ["-m", "a=1", "b=1,2"]
    assert quoted(["a=-m", "--multirun"]) == ["--multirun", "a=-m"]
    assert quoted(["a=1", "--config-dir", "x"]) == ["--config-dir", "x", "a=1"]
