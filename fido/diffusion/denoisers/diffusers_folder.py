"""A U-Net of the diffusers library as a denoiser."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fido.diffusion.denoisers.base import Denoiser
from fido.diffusion.denoisers.class_labels import class_indices
from fido.diffusion.schedule import noise_from_x0, x0_from_noise

PREDICTIONS = ("epsilon", "sample", "v_prediction")
"""What the network gives: the noise, the image, or sqrt(a) noise - sqrt(1 - a) image."""


class DiffusersDenoiser(Denoiser):
    """Denoises with a `UNet2DModel`, class-conditional or not, as diffusers trains and saves it.

    Times are the steps of the network's own schedule whose share of the signal is nearest to the
    one asked for. Weights are read from safetensors only.

    Args:
        weights: Folder of a pipeline (`unet/`, `scheduler/`), or of the network itself with
            `scheduler_config.json` beside its `config.json`.
        labels: Of a class-conditional network, the classifier's index or name of each of its
            classes, in their order; a class more than that is "no class". None: the same indices.
        size: (h, w) in pixels; None is the network's own.
        lift: See `Denoiser`.

    Raises:
        ImportError: If diffusers is not installed.
        FileNotFoundError: If no folder is given or files are not there.
        ValueError: If it is no network for RGB images, or its schedule or labels do not fit.
    """

    schedule: Tensor
    labels: Tensor

    def __init__(
        self,
        weights: str | Path | None = None,
        labels: Sequence[int | str] | None = None,
        size: tuple[int, int] | None = None,
        lift: str = "residual",
    ) -> None:
        network_folder, scheduler = _parts(weights)
        network = _network(network_folder)
        config = network.config
        outputs = (3, 6)  # six: the variance, too, which is not used
        if config.in_channels != 3 or config.out_channels not in outputs:
            raise ValueError(
                f"{network_folder}: the network must take 3 colours and give 3 or 6 channels, "
                f"its config says {config.in_channels} and {config.out_channels}"
            )
        own = config.sample_size
        if size is None and own is None:
            raise ValueError(f"{network_folder}: no sample_size in the config; give denoiser.size")
        side = (own, own) if isinstance(own, int) else own
        super().__init__(tuple(side if size is None else size), lift=lift)
        self.prediction, alpha_bars = _schedule(scheduler)
        self.network = network.eval().requires_grad_(False)
        self.register_buffer("schedule", alpha_bars)
        count = config.num_class_embeds or 0
        self.class_labels = _labels(labels, count)
        self.register_buffer("labels", class_indices(self.class_labels, None))
        self.none = count - 1 if count > len(self.labels) else None

    def noise(
        self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None
    ) -> Tensor:
        """See `Denoiser.noise`."""
        level = torch.as_tensor(alpha_bar, dtype=torch.float64, device=x_t.device).expand(len(x_t))
        steps = (self.schedule - level[:, None]).abs().argmin(1)
        given = {} if not len(self.labels) else {"class_labels": self._indices(len(x_t), classes)}
        output: Tensor = self.network(x_t, steps, **given).sample[:, :3]
        if self.prediction == "epsilon":
            return output
        if self.prediction == "sample":
            return noise_from_x0(x_t, alpha_bar, output)
        signal = level.to(x_t.dtype).view(-1, 1, 1, 1)
        return signal.sqrt() * output + (1 - signal).sqrt() * x_t

    def x0(self, x_t: Tensor, alpha_bar: Tensor | float, classes: Tensor | None = None) -> Tensor:
        """See `Denoiser.x0`."""
        return x0_from_noise(x_t, alpha_bar, self.noise(x_t, alpha_bar, classes))

    def name_classes(self, names: Sequence[str]) -> None:
        """See `Denoiser.name_classes`."""
        self.labels = class_indices(self.class_labels, names).to(self.labels.device)

    def knows(self, classes: Tensor) -> Tensor:
        """See `Denoiser.knows`; a network without "no class" has no estimate to compare with."""
        if self.none is None:
            return torch.zeros_like(classes, dtype=torch.bool)
        return torch.isin(classes, self.labels)

    def _indices(self, n: int, classes: Tensor | None) -> Tensor:
        none = 0 if self.none is None else self.none
        if classes is None:
            return torch.full((n,), none, device=self.labels.device)
        same = classes.to(self.labels.device)[:, None] == self.labels
        return torch.where(same.any(1), same.int().argmax(1), none)


def _parts(weights: str | Path | None) -> tuple[Path, Path]:
    """Folder of the network, file of its schedule."""
    if weights is None:
        raise FileNotFoundError(
            "denoiser=diffusers needs a model: explainer.denoiser.weights=FOLDER, a pipeline's "
            "folder with unet/ and scheduler/ as diffusers saves it"
        )
    folder = Path(weights).expanduser()
    network = folder / "unet" if (folder / "unet").is_dir() else folder
    places = (folder / "scheduler", network)
    for path in (place / "scheduler_config.json" for place in places):
        if path.is_file() and (network / "config.json").is_file():
            return network, path
    raise FileNotFoundError(
        f"{folder} needs unet/config.json and scheduler/scheduler_config.json, or config.json and "
        "scheduler_config.json, as diffusers saves them"
    )


def _network(folder: Path) -> Any:
    if importlib.util.find_spec("diffusers") is None:
        raise ImportError(
            "denoiser=diffusers needs the package diffusers: pip install 'fido-xai[diffusers]'"
        )
    config = _config(folder / "config.json")
    if config.get("_class_name") != "UNet2DModel":
        raise ValueError(
            f"{folder} holds a {config.get('_class_name')}, and a UNet2DModel is needed: a network "
            "on pixels, not on latents or text"
        )
    from diffusers import UNet2DModel

    try:
        return UNet2DModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
    except Exception as error:  # every part of it has its own; all mean the same here
        raise FileNotFoundError(
            f"{folder} has no readable diffusion_pytorch_model.safetensors: {error}"
        ) from error


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"expected a JSON object, got {type(config).__name__}")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no configuration of diffusers: {error}") from error
    return config


def _schedule(path: Path) -> tuple[str, Tensor]:
    """What the network predicts, and `alpha_bar` of its steps."""
    from diffusers import DDPMScheduler

    config = _config(path)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in PREDICTIONS:
        raise ValueError(
            f"{path}: prediction_type must be one of {', '.join(PREDICTIONS)}, got {prediction!r}"
        )
    # Schedulers share the names of what their betas are made of.
    names = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas")
    betas = {name: config[name] for name in names if config.get(name) is not None}
    rescaled = {"rescale_betas_zero_snr": True} if config.get("rescale_betas_zero_snr") else {}
    try:
        schedule = DDPMScheduler(**betas, **rescaled).alphas_cumprod.double()
    except Exception as error:  # whatever diffusers raises of such numbers
        raise ValueError(f"{path} describes no schedule: {error}") from error
    return prediction, schedule


def _labels(labels: Sequence[int | str] | None, count: int) -> Sequence[int | str]:
    if labels is None:
        return range(count)
    if len(labels) not in (count, count - 1):
        raise ValueError(
            f"denoiser.labels must name {count} classes, those of the network, or one less where "
            f"its last is no class; got {len(labels)}"
        )
    return tuple(labels)
