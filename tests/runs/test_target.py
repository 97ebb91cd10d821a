import pytest
import torch

from fido.classifiers.imagenet_names import imagenet_names
from fido.records import Sample
from fido.runs.target import class_index, resolve_target

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
