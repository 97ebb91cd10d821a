import numpy as np
import pytest
import torch

from fido.classifiers.imagenet_names import imagenet_names
from fido.records import Sample
from fido.runs.target import (
    NoTargetError,
    TargetChoice,
    check_target,
    class_index,
    resolve_target,
    target_without_network,
)
from fido.runs.target_pairs import read_pairs

NAMES = ["cat", "dog", "espresso", "crane", "crane"]
LOGITS = torch.tensor([0.1, 3.0, 2.0, -1.0, 0.0])


def sample(label=None):
    return Sample("photo", torch.zeros(3, 4, 4), label=label)


@pytest.mark.parametrize(
    ("target", "index"),
    [("predicted", 1), ("second", 2), ("label", 0), (4, 4), ("4", 4), ("Espresso", 2), ("cat", 0)],
)
def test_every_way_to_name_a_class(target, index):
    assert resolve_target(target, sample(label=0), LOGITS, NAMES) == index


def test_label_without_label_says_what_to_do():
    with pytest.raises(ValueError, match=r"photo.*target=predicted"):
        resolve_target("label", sample(), LOGITS, NAMES)


@pytest.mark.parametrize("target", [5, -1, "99"])
def test_index_out_of_range(target):
    with pytest.raises(ValueError, match="0 to 4"):
        resolve_target(target, sample(), LOGITS, NAMES)


def test_a_name_that_does_not_exist_lists_the_nearest():
    with pytest.raises(ValueError, match="espresso"):
        class_index("expresso", imagenet_names())


def test_a_name_of_two_classes_lists_their_indices():
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        class_index("crane", NAMES)
    with pytest.raises(ValueError, match=r"\[264, 474\]"):
        class_index("CARDIGAN", imagenet_names())
    assert class_index("Cardigan", imagenet_names()) == 264


def test_second_among_some_classes_is_their_most_probable_other_one():
    among = TargetChoice([0, 3, 1])
    assert resolve_target("second", sample(), LOGITS, NAMES, among) == 0
    assert resolve_target("second", sample(), LOGITS, NAMES, TargetChoice([2, 4])) == 2
    with pytest.raises(ValueError, match="two classes or more"):
        resolve_target("second", sample(), LOGITS, NAMES, TargetChoice([1]))


@pytest.mark.parametrize(
    ("target", "choice", "index"),
    [
        ("second", TargetChoice(), 2),
        ("second", TargetChoice([2, 3]), 2),
        ("second", TargetChoice([0, 3]), None),
        ("pairs", TargetChoice(pairs={1: 4}), 4),
        ("pairs", TargetChoice(pairs={0: 4}), None),
    ],
)
def test_what_a_stored_ranking_tells_is_what_the_network_would(target, choice, index):
    ranking = LOGITS.topk(2).indices.tolist()
    assert target_without_network(target, None, ranking, NAMES, choice) == index
    if index is not None:
        assert resolve_target(target, sample(), LOGITS, NAMES, choice) == index


def test_pairs_are_read_from_a_file_by_kind(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text("source, target, kind\ncat, dog, near\nCAT, espresso, far\n1, 0, near\n")
    assert read_pairs(str(file), NAMES, "near") == {0: 1, 1: 0}
    assert read_pairs(str(file), NAMES, "far") == {0: 2}
    assert read_pairs([["cat", "dog"], [4, 2]], NAMES) == {0: 1, 4: 2}
    assert read_pairs([["8", "3"]], list("0123456789")) == {8: 3}
    with pytest.raises(NoTargetError, match="dog"):
        resolve_target("pairs", sample(), LOGITS, NAMES, TargetChoice(pairs={0: 2}))


def test_pairs_begin_with_the_label_or_without_one_with_the_prediction():
    choice = TargetChoice(pairs={0: 2, 1: 3})
    for label, target in ((0, 2), (None, 3)):
        assert resolve_target("pairs", sample(label), LOGITS, NAMES, choice) == target
        ranking = LOGITS.topk(2).indices.tolist()
        assert target_without_network("pairs", label, ranking, NAMES, choice) == target
    with pytest.raises(NoTargetError, match="espresso"):
        resolve_target("pairs", sample(2), LOGITS, NAMES, choice)


@pytest.mark.parametrize(
    ("lines", "kind", "words"),
    [
        (None, None, r"target_pairs=FILE\.csv"),
        ([], None, "no pair"),
        ([["cat", "cat"]], None, "its own target"),
        ([["cat", "dog", "near"], ["cat", "espresso", "far"]], None, r"target_kind=near\|far"),
        ([["cat", "dog", "near"]], "fra", "kinds: near"),
        ([["cat", "expresso"]], None, "espresso"),
        ([["cat", 9]], None, "0 to 4"),
        ([["cat"]], None, "expected source,target"),
    ],
)
def test_bad_pairs_are_refused_in_words(lines, kind, words):
    with pytest.raises(ValueError, match=words):
        read_pairs(lines, NAMES, kind)


def test_a_pairs_file_that_is_not_there_or_has_other_columns(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_pairs(str(tmp_path / "none.csv"), NAMES)
    (tmp_path / "pairs.csv").write_text("from,to\ncat,dog\n")
    with pytest.raises(ValueError, match="no column 'source', expected source, target"):
        read_pairs(str(tmp_path / "pairs.csv"), NAMES)


@pytest.mark.parametrize("target", [np.int64(1), torch.tensor(1), np.uint8(1)])
def test_whole_numbers_of_arrays_are_indices(target):
    check_target(target, ["a", "b"])
    assert resolve_target(target, sample(), torch.zeros(2), ["a", "b"]) == 1


@pytest.mark.parametrize("target", [1.0, float("nan"), None, ["a"], torch.ones(2), b"a"])
def test_what_names_no_class_is_refused(target):
    with pytest.raises(ValueError, match=r"expected predicted, .* or a class name"):
        check_target(target, ["a", "b"])


def test_a_switch_is_the_name_of_a_class():
    names = ["true", "false"]
    for target, index in ((True, 0), (False, 1)):
        assert resolve_target(target, sample(), torch.zeros(2), names) == index
    with pytest.raises(ValueError, match="target='true' is neither"):
        check_target(True, ["a", "b"])


@pytest.mark.parametrize("target", ["\u00b2", "--1", "1_0", "\u0661"])
def test_digits_of_other_kinds_are_names(target):
    with pytest.raises(ValueError, match="is neither"):
        check_target(target, ["a", "b"])
    check_target(target, ["a", target])
