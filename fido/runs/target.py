"""Which class is explained."""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from fido.records import Sample

POLICIES = ("predicted", "label", "second", "pairs")


@dataclass(frozen=True)
class TargetChoice:
    """What target=second and target=pairs choose from.

    Attributes:
        among: Class indices that "second" chooses from; None takes all.
        pairs: Class of the photo to target, for "pairs"; see `fido.runs.target_pairs.read_pairs`.
    """

    among: Sequence[int] | None = None
    pairs: Mapping[int, int] = field(default_factory=dict)


EVERY_CLASS = TargetChoice()
"""All classes, and no pairs."""


class LabelError(ValueError):
    """An image whose label cannot be explained: there is none, or no such class."""


class NoTargetError(ValueError):
    """There is no class to explain for an image: it is left out, and counted."""


def class_index(name: str, class_names: Sequence[str]) -> int:
    """The index of a class given by name; case matters only where names differ by nothing else.

    Raises:
        ValueError: If no class or more than one has the name; the message lists the nearest names
            or the indices to choose from.
    """
    wanted = name.casefold()
    matches = [i for i, known in enumerate(class_names) if known == name]
    if not matches:
        matches = [i for i, known in enumerate(class_names) if known.casefold() == wanted]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(f"class name {name!r} stands for several classes, give one of {matches}")
    folded = {known.casefold(): known for known in (*class_names, *POLICIES)}
    near = [folded[key] for key in difflib.get_close_matches(wanted, folded, n=5, cutoff=0.4)]
    hint = f"nearest names: {', '.join(near)}" if near else "no name comes near it"
    raise ValueError(
        f"target={name!r} is neither one of {', '.join(POLICIES)}, a class index, nor a class "
        f"name of this classifier; {hint}"
    )


def plain_target(target: object) -> str | int:
    """A target as a word, or as the class index that its digits are.

    On a command line `target=true` is a switch, here the name of a class. Whole numbers of NumPy
    and PyTorch are indices.

    Raises:
        ValueError: If it is nothing of these.
    """
    if isinstance(target, bool):
        return str(target).lower()
    if isinstance(target, str):
        return int(target) if re.fullmatch(r"-?[0-9]+", target) else target
    try:
        return operator.index(target)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(
            f"target={target!r}: expected {', '.join(POLICIES)}, a class index or a class name"
        ) from None


def check_target(target: str | int, class_names: Sequence[str]) -> None:
    """Refuse a target that no image can have, before any is read.

    Raises:
        ValueError: See `resolve_target`.
    """
    target = plain_target(target)
    if isinstance(target, int):
        _checked(target, f"target={target}", class_names)
    elif target not in POLICIES:
        class_index(target, class_names)


def check_labels(targets: Sequence[str | int], labels: Iterable[int | None]) -> None:
    """Refuse target=label where no image has a label.

    Raises:
        ValueError: Says what to give.
    """
    if "label" in targets and all(label is None for label in labels):
        raise ValueError(
            "target=label, but none of the images has a label; use target=predicted, a class index "
            "or a class name, or data with labels, such as data=class_folders"
        )


def resolve_target(
    target: str | int,
    sample: Sample,
    logits: Tensor,
    class_names: Sequence[str],
    choice: TargetChoice = EVERY_CLASS,
    exclusive: bool = True,
) -> int:
    """The class index that `target` means for one sample.

    Args:
        target: "predicted" (the classifier's first choice), "second" (the most probable other class
            of `choice.among`), "label" (the ground truth), "pairs" (that of the label, or without
            one of the predicted class, in `choice.pairs`), a class index, or a class name.
        sample: The image, for its label.
        logits: (classes,) the classifier's answer to the image.
        class_names: Name of every class.
        choice: What "second" and "pairs" choose from.
        exclusive: Whether an image has one class only; of independent labels none is the second.

    Raises:
        NoTargetError: If no pair begins with the image's class.
        LabelError: If the label is asked for, and the sample has none or no class has it.
        ValueError: If the class does not exist.
    """
    predicted = int(logits.argmax())
    if target == "predicted":
        return predicted
    if target == "second":
        if not exclusive or len(logits) < 2:
            raise ValueError(
                f"target=second is not defined for this classifier: its {len(class_names)} labels "
                "are independent of each other, so that none is the second choice; give "
                f"target=predicted or a label: {', '.join(class_names[:8])}"
            )
        return _second(logits, predicted, choice.among)
    if target == "pairs":
        source = predicted if sample.label is None else sample.label
        if source not in choice.pairs:
            called = class_names[source] if 0 <= source < len(class_names) else source
            raise NoTargetError(f"no pair begins with {called}")
        return choice.pairs[source]
    if target == "label":
        if sample.label is None:
            raise LabelError(
                f"target=label, but image {sample.id!r} has no label; "
                "use target=predicted, a class index or a class name"
            )
        try:
            return _checked(sample.label, f"the label of image {sample.id!r}", class_names)
        except ValueError as error:
            raise LabelError(str(error)) from None
    target = plain_target(target)
    if isinstance(target, int):
        return _checked(target, f"target={target}", class_names)
    return class_index(target, class_names)


def _second(logits: Tensor, predicted: int, among: Sequence[int] | None) -> int:
    """The most probable class but the predicted one."""
    if among is None:
        return int(logits.topk(2).indices[1])
    others = [index for index in among if index != predicted]
    if not others:
        raise ValueError("target=second needs two classes or more in target_classes")
    return others[int(logits[others].argmax())]


def _checked(index: int, what: str, class_names: Sequence[str]) -> int:
    if not 0 <= index < len(class_names):
        number = "" if what.endswith(f"={index}") else f", {index},"
        raise ValueError(
            f"{what}{number} is not a class index of this classifier; "
            f"expected 0 to {len(class_names) - 1}"
        )
    return index


def target_without_network(
    target: str | int,
    label: int | None,
    ranking: Sequence[int],
    class_names: Sequence[str],
    choice: TargetChoice = EVERY_CLASS,
) -> int | None:
    """The class index that `target` means, where it can be told without the classifier's answer.

    So a run that is started again knows what it has without passing every photo once more.

    Args:
        target: See `resolve_target`.
        label: The image's ground truth, where known.
        ranking: The photo's classes, the most probable first, as far as they are known.
        class_names: Name of every class.
        choice: See `resolve_target`.

    Returns:
        None where the classifier has to be asked, or `resolve_target` has something to refuse.
    """
    if target in ("predicted", "second"):
        place = 0 if target == "predicted" else 1
        known = ranking[place] if len(ranking) > place else None
        # Of some classes only, the second may stand further down than the ranking goes.
        chosen = target == "predicted" or choice.among is None or known in choice.among
        return known if chosen else None
    if target == "pairs":
        source = label if label is not None else next(iter(ranking), None)
        return None if source is None else choice.pairs.get(source)
    if target == "label":
        return label if label is not None and 0 <= label < len(class_names) else None
    target = plain_target(target)
    if isinstance(target, int):
        return target if 0 <= target < len(class_names) else None
    return class_index(target, class_names)
