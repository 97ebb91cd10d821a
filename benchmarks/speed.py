"""Time of one explanation against bare forward and backward passes of the same classifier.

    python benchmarks/speed.py                 # FIDO by infiller: a table on stdout
    python benchmarks/speed.py --rows methods  # SP, RISE, LIME against bare forwards; calls of MP2
    python benchmarks/speed.py --json out.json # and the numbers as JSON
    python benchmarks/speed.py --device cuda   # on a GPU, which has not been tried yet

Everything runs in one process and in turns, so that ratios hold while the machine's speed drifts;
the median over rounds is printed. The floor is as many bare passes on as many images as the
optimisation has steps and samples (as the method asks for), with the batch normalisations folded
as `explain.py` does it; the last column compares with the classifier as it was loaded. Peak memory
is that of a process of its own.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from methods import method_rows, mp2_calls

from fido import weights as shipped
from fido.classifiers.base import Classifier
from fido.classifiers.efficientnet_lite import efficientnet_lite
from fido.classifiers.folding import fold_batch_norms
from fido.data.samples import SamplePhotos
from fido.explainers.fido import Fido
from fido.infillers.base import Infiller
from fido.infillers.blur import BlurInfiller
from fido.infillers.local import LocalInfiller
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR
from fido.records import Sample
from fido.runtime.files import write_json
from fido.runtime.memory import keep_freed_memory

SAMPLES = 8
CONF = Path(__file__).resolve().parents[1] / "conf"


def photos(classifier: Classifier, count: int) -> list[Sample]:
    source = SamplePhotos(size=classifier.size, limit=count)
    samples = [source.load(entry) for entry in source.selected()]
    return [Sample(s.id, s.image, target=967) for s in samples]


def floor(classifier: Classifier, steps: int) -> Callable[[], object]:
    """`steps` bare forward and backward passes of the log-odds on 8 images."""
    image = torch.rand(SAMPLES, 3, *classifier.size).to(memory_format=classifier.memory_format)
    image = image.to(classifier.device)
    target = torch.full((SAMPLES,), 967, device=classifier.device)

    def run() -> None:
        for _ in range(steps):
            leaf = image.detach().requires_grad_()
            classifier.log_odds(leaf, target).sum().backward()

    return run


def explanation(
    classifier: Classifier, infiller: Infiller, steps: int, images: int = 1, grid: int = 14
) -> Callable[[], object]:
    samples = photos(classifier, images)
    fido = Fido(
        classifier,
        infiller.to(classifier.device),
        SSR(1e-3),
        partial(ConcreteMask, grid=grid, unit="cell"),
        samples=SAMPLES,
        steps=steps,
    )
    return lambda: fido.explain(samples)


def learned_infillers() -> dict[str, Infiller]:
    """Those whose weights are shipped with the package, as configured."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return {
            name: instantiate(compose("explain", [f"infiller={name}"]).infiller, _convert_="all")
            for name in ("ca", "vae")
            if name in shipped.manifest()
        }


LOADED = "floor: as loaded, channels_last"

Timed = dict[str, tuple[Callable[[], object], str, int]]
"""Name of a row to what is run, the row that it is divided by, and how many passes that is."""


def rows(steps: int, with_bf16: bool, device: torch.device) -> Timed:
    """FIDO with every infiller, and the floor."""
    classifier = fold_batch_norms(efficientnet_lite(0)).to(device)
    floor_name = "floor: folded, channels_last"
    nchw = "floor: as loaded, NCHW"
    simple = {
        "mean": MeanInfiller(),
        "blur": BlurInfiller(),
        "random": RandomInfiller(),
        "local": LocalInfiller(),
    }
    timed: Timed = {
        floor_name: (floor(classifier, steps), LOADED, steps),
        LOADED: (floor(efficientnet_lite(0).to(device), steps), nchw, steps),
        nchw: (floor(efficientnet_lite(0, channels_last=False).to(device), steps), nchw, steps),
    }
    for name, infiller in {**simple, **learned_infillers()}.items():
        run = explanation(classifier, infiller, steps)
        timed[f"fido, infiller={name}"] = (run, floor_name, steps)
    timed["fido, infiller=local, 4 images a fit"] = (
        explanation(classifier, simple["local"], steps, images=4),
        "fido, infiller=local",
        steps,
    )
    if with_bf16:
        timed["floor: folded, channels_last, bf16"] = (
            floor(fold_batch_norms(efficientnet_lite(0, precision="bf16")).to(device), steps),
            floor_name,
            steps,
        )
    return timed


def peak_memory() -> float | None:
    """Gigabytes that a process needs for one image with the default infiller; Linux only."""
    if not Path("/proc/self/status").is_file():
        return None
    # Not ru_maxrss: a child inherits that of the process that started it.
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import speed\n"
        "c = speed.fold_batch_norms(speed.efficientnet_lite(0))\n"
        "speed.explanation(c, speed.learned_infillers()['ca'], 5)()\n"
        "print(next(l for l in open('/proc/self/status') if l.startswith('VmHWM')).split()[1])"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", code, here], capture_output=True, text=True)
    return int(done.stdout.split()[-1]) / 1e6


def perturbations(classifier: Classifier, passes: int) -> Timed:
    """The methods that only ask for probabilities."""
    (sample,) = photos(classifier, 1)
    return {name: row for name, *row in method_rows(classifier, sample, passes)}


def print_mp2_calls(classifier: Classifier) -> None:
    """What MP2 asks for with an infiller that has one fill an image, and with a generative one."""
    (sample,) = photos(classifier, 1)
    for name, infiller in {"blur": BlurInfiller(), **learned_infillers()}.items():
        calls = mp2_calls(classifier, sample, infiller)
        print(f"mp2, infiller={name}: " + ", ".join(f"{n} {what}" for what, n in calls.items()))


def _ratio(seconds: list[float], floor: list[float] | None) -> float | None:
    if floor is None:
        return None
    return statistics.median(a / b for a, b in zip(seconds, floor, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", choices=["fido", "methods"], default="fido")
    parser.add_argument("--passes", type=int, default=104, help="forwards of a method")
    parser.add_argument("--steps", type=int, default=30, help="optimisation steps a measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu | cuda, for the rows of FIDO")
    parser.add_argument("--no-bf16", action="store_true", help="leave the bf16 floor out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()  # as every command does; what that saves: benchmarks/allocator.py
    fido_rows, device = arguments.rows == "fido", torch.device(arguments.device)
    if fido_rows:
        timed = rows(arguments.steps, not arguments.no_bf16, device)
    else:
        timed = perturbations(fold_batch_norms(efficientnet_lite(0)), arguments.passes)
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for round_ in range(arguments.rounds + 1):
        for name, (run, _, _) in timed.items():
            started = time.perf_counter()
            run()
            if device.type == "cuda":  # passes return before they are computed
                torch.cuda.synchronize(device)
            if round_:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    table = []
    for name, (_, base, count) in timed.items():
        ratios = [a / b for a, b in zip(seconds[name], seconds[base], strict=True)]
        table.append(
            {
                "row": name,
                "ms_each": 1000 * statistics.median(seconds[name]) / count,
                "ratio": statistics.median(ratios),
                "of": base,
                "spread": [min(ratios), max(ratios)],
                "of_loaded": _ratio(seconds[name], seconds.get(LOADED)),
            }
        )
    on_cpu = device.type == "cpu"
    memory = peak_memory() if fido_rows and on_cpu else None
    place = platform.machine() if on_cpu else torch.cuda.get_device_name(device)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {place};")
    each = f"step of {SAMPLES} samples" if fido_rows else "forward pass"
    print(f"224 pixels, {arguments.rounds} rounds\n")
    print(f"| row | ms a {each} | ratio | min to max | divided by | of the classifier as loaded |")
    print("|---|---|---|---|---|---|")
    for line in table:
        low, high = line["spread"]
        print(
            f"| {line['row']} | {line['ms_each']:.0f} | {line['ratio']:.2f} | "
            f"{low:.2f} to {high:.2f} | {line['of']} | "
            + ("|" if line["of_loaded"] is None else f"{line['of_loaded']:.2f} |")
        )
    if memory is not None:
        print(f"\npeak memory of one image: {memory:.2f} GB")
    if not fido_rows:
        print_mp2_calls(fold_batch_norms(efficientnet_lite(0)))
    if arguments.json:
        write_json(arguments.json, {"rows": table, "peak_memory_gb": memory})
        print(f"written: {arguments.json}")


if __name__ == "__main__":
    main()
