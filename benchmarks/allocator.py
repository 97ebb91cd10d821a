"""What it saves to keep freed memory (`fido.runtime.memory`): time of bare passes and page faults.

    python benchmarks/allocator.py

The C library's setting cannot be taken back, so that each measurement is a process of its own; the
two kinds take turns, and the median over rounds is printed.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import torch

from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.folding import fold_batch_norms
from fido.runtime.memory import keep_freed_memory

IMAGES, PASSES = 8, 6
COLUMNS = ("forward, ms", "forward and backward, ms", "page faults an image", "peak, MB")


def measure(keep: bool) -> list[float]:
    """The columns for one process: times and faults an image."""
    if keep and not keep_freed_memory():
        raise SystemExit("this C library cannot keep freed memory")
    classifier = fold_batch_norms(efficientnet_lite(0))
    image = torch.rand(IMAGES, 3, *classifier.size)
    with torch.no_grad():
        classifier(image)
        start, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(PASSES):
            classifier(image)
        forward = time.perf_counter() - start
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    image.requires_grad_()
    classifier(image).sum().backward()
    start = time.perf_counter()
    for _ in range(PASSES):
        classifier(image).sum().backward()
    both = time.perf_counter() - start
    rows, peak = IMAGES * PASSES, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [1000 * forward / rows, 1000 * both / rows, faults / rows, peak]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", choices=["kept", "returned"], help="one measurement, as numbers")
    options = parser.parse_args()
    if options.one:
        print(*measure(options.one == "kept"))
        return
    found: dict[str, list[list[float]]] = {"returned": [], "kept": []}
    for _ in range(options.rounds):
        for kind, rows in found.items():
            child = [sys.executable, __file__, "--one", kind]
            done = subprocess.run(child, capture_output=True, text=True, check=True)
            rows.append([float(word) for word in done.stdout.split()])
    print("| freed memory |", " | ".join(COLUMNS), "|")
    print("|---|" + "---:|" * len(COLUMNS))
    for kind, rows in found.items():
        middle = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"| {kind} |", " | ".join(f"{value:.1f}" for value in middle), "|")


if __name__ == "__main__":
    main()
