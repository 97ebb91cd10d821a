"""Any Hugging Face image classifier."""

from __future__ import annotations

from typing import Any

from fido.classifiers.base import Classifier


def huggingface_classifier(
    name: str, precision: str = "float32", channels_last: bool = True
) -> Classifier:
    """A classifier from a folder that `save_pretrained` wrote, or from the hub.

    Class names, size, mean and deviation come from the folder's own configs, and whether labels
    are independent of each other (`problem_type`). Only safetensors weights are read.

    Args:
        name: Folder or hub name, e.g. "google/vit-base-patch16-224".
        precision: See `Classifier`.
        channels_last: See `Classifier`.

    Raises:
        ImportError: If transformers is not installed (extra `huggingface`).
        FileNotFoundError: If folder or hub name cannot be read.
    """
    try:
        from transformers import AutoImageProcessor, AutoModelForImageClassification
    except ImportError as error:
        raise ImportError(
            "classifier=huggingface needs transformers: pip install 'fido-xai[huggingface]'"
        ) from error
    try:
        network = AutoModelForImageClassification.from_pretrained(
            name, use_safetensors=True, trust_remote_code=False
        )
        processor: Any = AutoImageProcessor.from_pretrained(name, trust_remote_code=False)
    except OSError as error:
        raise FileNotFoundError(
            f"no image classifier at {name!r}: expected a folder with config.json, "
            f"preprocessor_config.json and model.safetensors, or a hub name ({error})"
        ) from error
    sizes = dict(processor.size)
    short_side = sizes.get("shortest_edge", sizes.get("height", 224))
    crop = dict(getattr(processor, "crop_size", None) or {}) or {
        "height": sizes.get("height", short_side),
        "width": sizes.get("width", short_side),
    }
    labels = network.config.id2label
    independent = network.config.problem_type == "multi_label_classification"
    return Classifier(
        network,
        size=(crop["height"], crop["width"]),
        mean=processor.image_mean,
        std=processor.image_std,
        class_names=[labels[index] for index in range(len(labels))],
        interpolation="bicubic" if int(getattr(processor, "resample", 2)) == 3 else "bilinear",
        crop_fraction=min(1.0, crop["height"] / short_side),
        precision=precision,
        channels_last=channels_last,
        output="sigmoid" if independent else "auto",
    )
