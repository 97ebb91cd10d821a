"""Convert OpenAI's checkpoints: `python scripts/convert_guided_diffusion.py FILE OUT.safetensors`.

FILE is 256x256_diffusion_uncond.pt or 256x256_classifier.pt of https://github.com/openai/guided-diffusion.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fido.diffusion.guided_checkpoint import convert

USE = {
    "256x256_diffusion_uncond": "give denoiser@explainer.denoiser=guided_diffusion "
    "explainer.denoiser.weights={}",
    "256x256_classifier": "fido.networks.guided_unet.GuidedClassifier().load_state_dict takes {}",
}


def main(arguments: list[str] | None = None) -> None:
    """Convert, and say how the result is used."""
    parser = argparse.ArgumentParser(
        prog="python scripts/convert_guided_diffusion.py", description=__doc__
    )
    parser.add_argument("checkpoint", type=Path, help="the authors' file, *.pt")
    parser.add_argument("output", type=Path, help="the file to write, *.safetensors")
    parser.add_argument("--half", action="store_true", help="store half precision")
    options = parser.parse_args(arguments)
    try:
        kind = convert(options.checkpoint, options.output, options.half)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    print(f"{options.output}: {kind}, all names and shapes agree")
    print(USE[kind].format(options.output))


if __name__ == "__main__":
    main()
