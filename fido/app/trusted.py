"""What a store's saved settings may build when somebody else may have written them."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

ALLOWED = ("fido.classifiers", "fido.data", "fido.networks", "torch.nn", "torchvision.models")
"""Modules whose classes and functions build networks and read images, and do nothing else."""

TIMM = "timm.models"
TIMM_ARGUMENTS = ("model_name", "pretrained", "num_classes", "in_chans", "drop_rate")
"""Others of timm's make it read files, pickles among them."""


def check_trusted(settings: Mapping[str, Any], trust: bool) -> None:
    """Refuse settings of a store that would call anything but networks and readers of images.

    A `_target_` may name any function of Python with any arguments: a store is a program of whoever
    wrote its `settings.json`. Names are followed to where things are defined: `torch.os.system` is
    none of PyTorch's.

    Args:
        settings: Of the classifier that a store explains.
        trust: Whether the user says that the store is theirs, or of somebody they trust.

    Raises:
        ValueError: Names what would be called, and says how to allow it.
    """
    if not trust:
        _check(settings)


def _check(node: Any) -> None:
    if isinstance(node, Mapping):
        target = node.get("_target_")
        if target is not None and not _allowed(target, node):
            raise ValueError(
                f"the settings of a store would call {target!r} with arguments of theirs, which is "
                f"code that is neither fido's nor a network of {', '.join(ALLOWED[3:])} or timm. "
                "If the store is yours, or of somebody you trust, give trust=true; otherwise "
                "evaluation.own_classifier=false classifier=NAME scores it without its settings"
            )
        for child in node.values():
            _check(child)
    elif isinstance(node, list | tuple):
        for child in node:
            _check(child)
    elif isinstance(node, str) and "${" in node:
        raise ValueError(
            f"the settings of a store hold an expression, {node!r}, which fido does not write; "
            "give trust=true if you trust whoever did"
        )


def _allowed(target: object, arguments: Mapping[str, Any]) -> bool:
    found = _located(target)
    module = str(getattr(found, "__module__", ""))
    if _within(module, TIMM):
        # Names with a colon lead to hubs and folders.
        name = str(arguments.get("model_name", ""))
        given = {str(key) for key in arguments if key != "_target_"}
        return given <= set(TIMM_ARGUMENTS) and ":" not in name
    return any(_within(module, allowed) for allowed in ALLOWED)


def _located(target: object) -> object:
    """The class or function of a dotted name; None if it is none of the allowed packages' own."""
    name = str(target)
    if not any(_within(name, allowed) for allowed in (*ALLOWED, "timm")):
        return None  # not even imported: importing runs code
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        for part in parts[end:]:
            found = getattr(found, part, None)
        return found
    return None


def _within(module: str, allowed: str) -> bool:
    return module == allowed or module.startswith(f"{allowed}.")
