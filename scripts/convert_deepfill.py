"""Convert DeepFill v1: `python scripts/convert_deepfill.py SNAPSHOT OUT.safetensors`."""

from __future__ import annotations

import argparse
from pathlib import Path

from fido.weights.deepfill import convert


def main(arguments: list[str] | None = None) -> None:
    """Convert, and say which release the snapshot is."""
    parser = argparse.ArgumentParser(prog="python scripts/convert_deepfill.py", description=__doc__)
    parser.add_argument(
        "snapshot", type=Path, help="folder or prefix of the TensorFlow snapshot (snap-0)"
    )
    parser.add_argument("output", type=Path, help="the file to write, *.safetensors")
    options = parser.parse_args(arguments)
    try:
        release = convert(options.snapshot, options.output)
    except (OSError, ValueError) as error:
        parser.exit(1, f"error: {error}\n")
    if release is None:
        print(f"{options.output}: all 84 tensors are there, but they are none of the releases;")
        print("use it with infiller.release=null")
    else:
        print(f"{options.output}: release {release}, all 84 checksums agree")
        print(f"use it with infiller.weights={options.output} infiller.release={release}")


if __name__ == "__main__":
    main()
