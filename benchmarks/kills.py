"""SIGKILL at random moments: nothing is lost or torn, and the end is that of a run without kills.

    python benchmarks/kills.py     # 100 kills: 40 of explain, 20 each of evaluate, train, report
    python benchmarks/kills.py --kills 20 --seed 1

Every command is run once whole. Then it is started in another folder, killed at a moment drawn
from the time that it took, started again, and so on; explain as four shards at once, of which one
is killed at a time. After every kill each visible file must be readable and none of the results
there before may be missing or changed. After the last kill the command runs to its end, and every
file must have the bytes of the whole run's.

Processes are forked from one that has imported everything, so that the time is that of the work.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers")]

from planted import PLANTED, write_photo  # noqa: E402

PHOTOS = 6
SHARDS = 4
EXPLAIN = (
    *PLANTED,
    "data=folder",
    "data.path=photos",
    "infiller=mean",
    "explainer.steps=10",
    "figures=false",
    "explainer.samples=2",
    "mask.grid=[10,12]",
    "logger=none",
)
TRAIN = (
    "model=classifier",
    "data=folder",
    "data.path=classes",
    "photos.image_size=32",
    "photos.views.side=32",
    "photos.batch_size=2",
    "photos.held_out=2",
    "steps=12",
    "least_epoch=6",
    "trainer.log_every_n_steps=1",
    "checkpoint_seconds=0",
    "threads=1",
    "logger=none",
)
SKIPPED = ("env", "env.json", "summary.json", ".hydra", "cache", "report", "index.html")
"""What says when and where something ran, or is made of files that are compared, as pages are."""


def main() -> None:
    """Run all four, print a line each, and end with code 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    shares = {"explain": 0.4, "evaluate": 0.2, "train": 0.2, "report": 0.2}
    wrong = 0
    for command, share in shares.items():
        outcome = run(command, round(given.kills * share), given.seed)
        print(json.dumps(outcome), flush=True)
        wrong += outcome["lost"] + outcome["torn"] + outcome["different"]
    sys.exit(wrong > 0)


def run(command: str, kills: int, seed: int) -> dict[str, object]:
    """Kill one command so many times; counts of kills, starts, files lost, torn and different."""
    warm()
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return _run(command, kills, random.Random(f"{command} {seed}"))
        finally:
            os.chdir(here)


def _run(command: str, kills: int, draw: random.Random) -> dict[str, object]:
    write_photos()
    if command in ("evaluate", "report"):
        finish(fork("explain", *EXPLAIN, "hydra.run.dir=store"))
    shutil.rmtree("outputs", ignore_errors=True)
    starts, words, watched = lines(command)
    begin = time.monotonic()
    place("whole", command)
    for line in words("whole", 1):
        finish(fork(command, *line))
    took = time.monotonic() - begin
    place("killed", command)
    counts = {"kills": 0, "late": 0, "lost": 0, "torn": 0, "different": 0}
    while counts["kills"] < kills:
        before = contents(Path("killed"), watched)
        children = [fork(command, *line) for line in words("killed", starts)]
        time.sleep(draw.uniform(0, 1.1 * took))
        for child in draw.sample(children, 1):
            alive = os.waitpid(child, os.WNOHANG) == (0, 0)
            if alive:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            children.remove(child)
            counts["kills" if alive else "late"] += 1
        for child in children:
            finish(child)
        counts["torn"] += torn(Path("killed"))
        after = contents(Path("killed"), watched)
        counts["lost"] += sum(after.get(name) != content for name, content in before.items())
        if complete(Path("killed"), Path("whole"), watched):
            shutil.rmtree("killed")  # begin anew: there is nothing left to interrupt
            place("killed", command)
    for line in words("killed", 1):
        finish(fork(command, *line))
    whole, killed = contents(Path("whole"), ("**/*",)), contents(Path("killed"), ("**/*",))
    names = sorted(set(whole) | set(killed))
    different = [name for name in names if whole.get(name) != killed.get(name)]
    if different:
        print("different:", different[:5], file=sys.stderr)
    counts["different"] = len(different)
    return {"command": command, **counts, "files": len(whole), "seconds_whole": round(took, 2)}


def lines(
    command: str,
) -> tuple[int, Callable[[str, int], list[tuple[str, ...]]], tuple[str, ...]]:
    """Processes at once, their words by folder and number, and the files that may never change."""
    if command == "explain":

        def words(folder: str, count: int) -> list[tuple[str, ...]]:
            line = (*EXPLAIN, f"hydra.run.dir={folder}")
            return [(*line, f"num_shards={count}", f"shard={index}") for index in range(count)]

        return SHARDS, words, ("explanations/*",)
    if command == "evaluate":
        line = (*PLANTED, "metrics=[deletion,localization]", "logger=none", "trust=true")
        line += ("evaluation.resamples=50",)
        return (
            1,
            lambda folder, _: [(*line, f"store={folder}/store", f"hydra.run.dir={folder}/out")],
            ("store/explanations/*",),
        )
    if command == "train":
        return 1, lambda folder, _: [(*TRAIN, f"output_dir={folder}")], ()
    return 1, lambda folder, _: [(f"store={folder}/store",)], ("store/explanations/*",)


def place(folder: str, command: str) -> None:
    """What a command finds."""
    Path(folder).mkdir()
    if command in ("evaluate", "report"):
        shutil.copytree("store", f"{folder}/store")


def complete(killed: Path, whole: Path, watched: Sequence[str]) -> bool:
    """Whether the killed command had ended before."""
    patterns = watched if len(watched) > 1 else ("**/*",)
    there, wanted = contents(killed, patterns), contents(whole, patterns)
    return set(wanted) <= set(there)


def contents(folder: Path, patterns: Sequence[str]) -> dict[str, bytes]:
    """Name to bytes of visible files."""
    found = {}
    for pattern in patterns:
        for path in folder.glob(pattern):
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith(".") for part in parts)
            if path.is_file() and not hidden and not set(parts) & set(SKIPPED):
                found["/".join(parts)] = path.read_bytes()
    return {name: _comparable(name, content) for name, content in found.items()}


def _comparable(name: str, content: bytes) -> bytes:
    if not name.endswith(".ckpt"):
        return content
    # Of a zip archive with the time of each file, the weights count.
    import torch

    state = torch.load(io.BytesIO(content), weights_only=True)["state_dict"]
    return b"".join(key.encode() + value.numpy().tobytes() for key, value in state.items())


def torn(folder: Path) -> int:
    """Visible files that cannot be read."""
    import torch
    from PIL import Image
    from safetensors import safe_open

    wrong = 0
    for path in folder.rglob("*"):
        if path.name.startswith(".") or not path.is_file() or ".hydra" in path.parts:
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    for name in list(file.keys()):
                        file.get_tensor(name)
            elif path.suffix == ".png":
                with Image.open(path) as image:
                    image.load()
            elif path.suffix == ".ckpt":
                torch.load(path, weights_only=True)
        except Exception as error:
            print(f"torn: {path}: {error}", file=sys.stderr)
            wrong += 1
    return wrong


def warm() -> None:
    """Import what commands import; nothing is computed, for threads do not survive a fork."""
    import matplotlib.pyplot
    import torch

    import fido.app.command_line
    import fido.app.evaluate
    import fido.app.explain
    import fido.app.report
    import fido.app.train
    import fido.explainers.fido
    import fido.training.classifier

    torch.set_num_threads(1)
    del matplotlib, fido


def fork(command: str, *words: str) -> int:
    """Start a command in a child of this process."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        from fido.app.command_line import run as command_line

        place = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(place, 1)
        os.dup2(place, 2)
        with contextlib.suppress(SystemExit):
            command_line(command, words, f"fido {command}")
            code = 0
    finally:
        sys.stdout.flush()
        os._exit(code)


def finish(child: int) -> None:
    """Wait for a child that must succeed."""
    _, status = os.waitpid(child, 0)
    if status:
        log = Path("log.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"a command that nobody killed ended with {status}:\n{log}")


def write_photos() -> None:
    """Photos to explain, and two classes to train on."""
    import numpy as np
    from PIL import Image

    for index in range(PHOTOS):
        write_photo(Path("photos") / f"p{index}.png")
        pixels = np.random.default_rng(index).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        path = Path("classes") / ("cat", "dog")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    main()
