"""The thousand ImageNet class names, as torchvision ships them."""

from __future__ import annotations

from torchvision.models import ResNet50_Weights


def imagenet_names() -> list[str]:
    """1,000 names in index order; "Cardigan", a dog, and "cardigan" differ by case only."""
    return list(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
