"""Infill with LaMa, from a TorchScript file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from fido.infillers.base import Infiller, keep_known, per_mask
from fido.infillers.resolution import check_options, infill_at_resolution
from fido.runtime.noise import ImageNoise

_FILE = "big-lama.pt"
_WHERE = (
    f"Get {_FILE} (205,669,692 bytes, Apache-2.0), the TorchScript export of the project "
    "advimman/lama that the project Sanster/IOPaint distributes, and set infiller.weights to the "
    "file. Loading TorchScript runs code from the file: take it from a source you trust and leave "
    "infiller.sha256 set, which is checked first."
)


class LamaInfiller(Infiller):
    """Fill with a TorchScript inpainting network `f(image, hole)`, such as big-lama.

    **Loading a TorchScript file executes code that the file contains.** It is the only format in
    which big-lama is passed around; `sha256` makes sure that it is the file one means before
    anything of it runs. The network gets RGB in [0, 1] with the hole blanked and the hole as ones,
    and answers with RGB in [0, 1].

    Args:
        weights: The TorchScript file.
        sha256: Hexadecimal digest that the file has to have; None loads any file.
        resolution: Short side in pixels at which the network works, a multiple of 8; None is the
            image's own size, extended to multiples of 8; see
            `fido.infillers.resolution.infill_at_resolution`.
        rows_per_pass: Rows in one pass of the network, or None for all at once.

    Raises:
        FileNotFoundError: If there is no such file; the text says where to get it.
        ValueError: If the file has another digest or is not TorchScript.

    Source: Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier
    Convolutions" (WACV).
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        sha256: str | None = None,
        resolution: int | None = None,
        rows_per_pass: int | None = 8,
    ) -> None:
        super().__init__()
        check_options(resolution, rows_per_pass)
        if weights is None:
            raise FileNotFoundError(
                "the infiller lama needs a user's copy of its network, and infiller.weights is "
                "null. " + _WHERE
            )
        self.resolution = resolution
        self.rows_per_pass = rows_per_pass
        self.network = _load(Path(weights).expanduser(), sha256)

    def train(self, mode: bool = True) -> LamaInfiller:
        """Stay in evaluation mode: the network's batch normalisation must not learn."""
        super().train(False)
        return self

    @torch.no_grad()
    def infill(self, image: Tensor, keep: Tensor, noise: ImageNoise | None = None) -> Tensor:
        """See `Infiller.infill`."""
        rows = per_mask(image, self.repeats(image, keep))
        fill = infill_at_resolution(self._fill, rows, keep, self.resolution, self.rows_per_pass)
        return keep_known(fill, rows, keep)

    def _fill(self, image: Tensor, keep: Tensor) -> Tensor:
        hole = 1 - keep  # the network says 1 = hole
        filled = self.network(image * keep, hole)
        if not isinstance(filled, Tensor) or filled.shape != image.shape:
            got = tuple(filled.shape) if isinstance(filled, Tensor) else type(filled).__name__
            raise ValueError(
                f"the TorchScript network answered with {got}, expected an image of shape "
                f"{tuple(image.shape)} for the arguments (image, hole)"
            )
        return filled.clamp(0, 1)


def _load(path: Path, sha256: str | None) -> torch.jit.ScriptModule:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist. {_WHERE}")
    if sha256 is not None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256.lower():
            raise ValueError(
                f"{path} has the sha256 {digest}, expected {sha256}; it was not loaded, because "
                "loading TorchScript runs code from the file. Set infiller.sha256 to its digest, "
                "or to null, if you trust it"
            )
    try:
        network: torch.jit.ScriptModule = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ValueError(f"{path} is not a TorchScript file: {error}") from error
    for parameter in network.parameters():  # script modules lack `requires_grad_`
        parameter.requires_grad = False
    network.eval()
    return network
