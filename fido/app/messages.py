"""Errors of the command line in words that help: renamed and misspelt settings, Hydra's grammar."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from fido.app.folders import CommandGroups
from fido.app.help import options_of
from fido.app.quoting import exact_quoting

RENAMED = {
    "method": "preset",
    "graded": "infillers",
    "compute": "executor",
    "returns": "optimized_metric",
    "images_per_fit": "batch_size",
    "max_batch": "rows_per_pass",
    "evaluation.calibration": "evaluation.reference_rows",
    "evaluation.baseline": "evaluation.compare_to",
    "evaluation.across": "evaluation.group_by",
    "evaluation.common": "evaluation.common_images_only",
    "mask.draw": "mask.unit",
    "mask.map": "mask.final_map",
    "explainer.register": "explainer.alignment",
    "explainer.cells_each": "explainer.cells_per_step",
    "explainer.step": "explainer.cell_size",
    "metrics.sanity": "metrics.model_randomization",
    "evaluation.check_classifier": "evaluation.own_classifier",
    "mask_laws": "mask_distributions",
    "figures.laws": "figures.mask_distributions",
    "metrics.infill_quality.laws": "metrics.infill_quality.mask_distributions",
    "metrics.infill_probability.laws": "metrics.infill_probability.mask_distributions",
    "grid.laws": "grid.masks",
    "train_logger": "logger",
    "mask_loss": "loss",
    "masker_loss": "loss",
    "output": "output_dir",
}
"""How old names of settings begin, to how they begin now; `max_batch` may stand anywhere."""

RENAMED_OPTIONS = {
    "sanity": "adebayo2018",
    "generative_sensitivity": "agarwal2020_fig6_sp",
    "generative_sensitivity_lime": "agarwal2020_fig6_lime",
    "generative_sensitivity_mp2": "agarwal2020_fig6_mp2",
    "model_randomization": "adebayo2018",
}
"""Old name of an experiment to the name that it has now; the others follow a rule."""


PLUGINS = {
    "joblib": "joblib",
    "submitit_local": "submitit",
    "submitit_slurm": "submitit",
    "optuna": "optuna",
}
"""Launchers and sweepers of Hydra to the extra that brings them."""

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".dcm")
"""What files that somebody wants explained end with."""


def check_names(words: Sequence[str]) -> None:
    """Refuse settings and experiments by names that they no longer have.

    Raises:
        ValueError: Says the new name.
    """
    for word in words:
        if "=" not in word and _is_photo(word):
            raise ValueError(f"{word}: did you mean data=folder data.path={shlex.quote(word)}?")
        key, equals, value = word.lstrip("+~").partition("=")
        if not equals or word.startswith("-"):
            continue
        if (name := _new_name(key)) is not None:
            raise ValueError(f"{key} is now {name}: {name}={value}")
        if key == "experiment" and (option := _new_experiment(value)) != value:
            raise ValueError(f"experiment={value} is now experiment={option}")
        if key == "metrics" and re.search(r"\bsanity\b", value):
            raise ValueError("the metric sanity is now model_randomization")


def _is_photo(word: str) -> bool:
    """Whether a word without a key is a photo or a folder of some."""
    if Path(word).suffix.lower() in PHOTOS:
        return True
    return not word.startswith("-") and Path(word).exists()


def _new_name(key: str) -> str | None:
    """`infiller.max_batch` -> `infiller.rows_per_pass`; None where nothing was renamed."""
    group, at, package = key.partition("@")
    parts = (package if at else group).split(".")
    for old, new in RENAMED.items():
        words = old.split(".")
        if at and group == old:
            return f"{new}@{package}"
        for i in range(len(parts) - len(words) + 1):
            if parts[i : i + len(words)] == words and (i == 0 or old == "max_batch"):
                renamed = ".".join([*parts[:i], new, *parts[i + len(words) :]])
                return f"{group}@{renamed}" if at else renamed
    return None


def _new_experiment(name: str) -> str:
    if name in RENAMED_OPTIONS:
        return RENAMED_OPTIONS[name]
    renamed = re.sub(r"^fido_(?=fig|table)", "chang2019_", name)
    return re.sub(r"^generative_(?=fig|table)", "agarwal2020_", renamed)


def explained(error: Exception) -> str | None:
    """What to tell the user; None if an error is not theirs to mend."""
    error = _own(error)
    if isinstance(error, MissingConfigException):
        return _no_option(error)
    if isinstance(error, OverrideParseException):
        return (
            f"cannot read {error.override}: expected SETTING=VALUE; a value with commas, brackets, "
            f"colons or quotation marks is quoted twice: {exact_quoting(str(error.override))}"
        )
    if isinstance(error, ConfigCompositionException | OmegaConfBaseException):
        unknown = _unknown_key(error)
        return unknown if unknown is not None else _without_advice(error)
    if isinstance(error, ValueError | OSError | ImportError):
        return str(error)
    return None


def _own(error: Exception) -> Exception:
    """What a constructor raised, without Hydra's wrapping."""
    cause = error.__cause__
    wrapped = isinstance(error, InstantiationException)
    return cause if wrapped and isinstance(cause, ValueError | OSError | ImportError) else error


def _no_option(error: MissingConfigException) -> str:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    if group.startswith("hydra/") and option in PLUGINS:
        return f"{group}={option} needs a package: pip install 'fido-xai[{PLUGINS[option]}]'"
    # Of an option in a list ([deletion,...]) Hydra says no alternatives.
    options = [name for name in error.options or [] if not name.startswith("_")]
    options = options or list(options_of(CommandGroups.command, group))
    if not options:
        return str(error).split("\n")[0]
    nearest = get_close_matches(option, options, n=1)
    hint = f"; did you mean {group}={nearest[0]}?" if nearest else "."
    return f"{group}={option}: there is no such option{hint} There are {', '.join(options)}"


def _unknown_key(error: BaseException) -> str | None:
    """Names near a key that the configuration does not have."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ConfigAttributeError | ConfigKeyError):
        cause = cause.__cause__
    if not isinstance(cause, ConfigAttributeError | ConfigKeyError):
        return None
    parent = cause.parent_node
    if not isinstance(parent, DictConfig) or cause.full_key is None:
        return None
    key = str(cause.full_key)
    last = key.rpartition(".")[2]
    root: DictConfig = parent._get_root()  # type: ignore[assignment]
    names = [name for name in _names(root) if not name.startswith("hydra")]
    same = [name for name in names if name.rpartition(".")[2] == last]
    prefix = key.removesuffix(last)
    near = get_close_matches(last, [str(name) for name in parent], n=2)
    if (others := _options_with(key)) and not near:
        group = key.partition(".")[0]
        have = ", ".join(f"{group}={option}" for option in others)
        return f"there is no setting {key} with this {group}, but with {have}"
    found = same or [prefix + name for name in near] or get_close_matches(key, names, n=3)
    hint = f"; did you mean {' or '.join(found[:3])}?" if found else "; see --help"
    return f"there is no setting {key} here{hint}"


def _options_with(key: str) -> list[str]:
    """Options of a setting's group that have the setting, with what they are composed of."""
    group, _, name = key.partition(".")
    if not name or "." in name:
        return []
    found = []
    for option, path in options_of(CommandGroups.command, group).items():
        content = OmegaConf.load(path)
        if isinstance(content, DictConfig) and name in content:
            found.append(option)
    return found


def _names(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """All settings below a node by their dotted names."""
    for key in map(str, node):
        name = f"{prefix}{key}"
        yield name
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            continue
        if isinstance(child := node._get_node(key), DictConfig) and not child._is_none():
            yield from _names(child, f"{name}.")


def _without_advice(error: Exception) -> str:
    """Hydra's words without its advice to add settings that nobody reads."""
    if isinstance(error, MissingMandatoryValue):
        return f"give {error.full_key}=VALUE, which has no default"
    lines = [line for line in str(error).split("\n") if not line.startswith("To append to")]
    if (cause := error.__cause__) is not None:
        lines += str(cause).split("\n")[:1]
    return " ".join(line.strip() for line in lines if line.strip() and "object_type" not in line)
