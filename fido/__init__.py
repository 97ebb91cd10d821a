"""fido: explain image classifiers by counterfactual infilling, and measure the explanations.

>>> import torch
>>> import fido
>>> classifier = torch.nn.Sequential(
...     torch.nn.Conv2d(3, 2, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
... )
>>> explanation = fido.explain(
...     classifier, torch.rand(3, 32, 32), mean=(0.5,) * 3, std=(0.2,) * 3, infiller="blur", steps=2
... )
>>> explanation.region.shape
torch.Size([1, 32, 32])

Names below are imported when they are first used, so that `import fido` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fido.app.api import explain as explain
    from fido.classifiers.base import Classifier as Classifier
    from fido.data.image import load_image as load_image
    from fido.explainers.base import Explainer as Explainer
    from fido.infillers.base import Infiller as Infiller
    from fido.records import Explanation as Explanation
    from fido.records import Sample as Sample

_MODULES = {
    "explain": "fido.app.api",
    "load_image": "fido.data.image",
    "Classifier": "fido.classifiers.base",
    "Infiller": "fido.infillers.base",
    "Sample": "fido.records",
    "Explanation": "fido.records",
    "Explainer": "fido.explainers.base",
    "Ace": "fido.explainers.ace",
    "Center": "fido.explainers.baselines",
    "ExtremalPerturbation": "fido.explainers.extremal",
    "Fido": "fido.explainers.fido",
    "Full": "fido.explainers.baselines",
    "GradCam": "fido.explainers.grad_cam",
    "Gradient": "fido.explainers.gradient",
    "GroundTruthBox": "fido.explainers.baselines",
    "GuidedDiffusion": "fido.explainers.guided_diffusion",
    "HandMask": "fido.explainers.hand_mask",
    "IntegratedGradients": "fido.explainers.integrated_gradients",
    "Lime": "fido.explainers.lime",
    "MaskingNetworkExplainer": "fido.explainers.realtime",
    "Mp": "fido.explainers.mp",
    "Mp2": "fido.explainers.mp2",
    "Occlusion": "fido.explainers.occlusion",
    "ProjectedGradient": "fido.explainers.pgd",
    "RandomMap": "fido.explainers.baselines",
    "Rise": "fido.explainers.rise",
    "SlidingPatch": "fido.explainers.sliding_patch",
    "SmoothGrad": "fido.explainers.smoothgrad",
}
"""The public names, and the module of each."""

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fido' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
