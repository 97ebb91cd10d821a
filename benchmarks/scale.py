"""Many files: listing photos, and starting a run again whose store is full.

    python benchmarks/scale.py                 # 100,000 photos listed, a store of 50,000 resumed
    python benchmarks/scale.py --listed 10000 --stored 5000

Photos are empty files for the listing. The store is that of a real run over one photo, its result
and its scores copied under other names; the photos are links to one file. Printed are the
seconds of the process's own work (user and system), seconds by the clock, the peak memory, the
files and bytes on disk, and, for comparison, the same command with one result.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "benchmarks")]

FIRST = "image_0000000"
RUN = ("explainer=gradient", "infiller=mean", "figures=false", "logger=none", "data=folder")


def main() -> None:
    """Print a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listed", type=int, default=100_000)
    parser.add_argument("--stored", type=int, default=50_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        report("list", given.listed, measured(lambda: listing(given.listed)))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        from planted import write_photo

        write_photo(Path("photos") / f"{FIRST}.png")
        explain()
        report("resume", 1, measured(explain))
        fill(given.stored)
        report("resume", given.stored, {**measured(explain), **disk(Path("run"))})


def explain() -> None:
    """The command in this process, which must find nothing to do but once."""
    from kills import FAST

    from fido.app.command_line import run

    place = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(place, 1)
    run("explain", [*FAST, *RUN, "data.path=photos", "hydra.run.dir=run"], "fido explain")


def listing(count: int) -> None:
    """List so many photos of one folder."""
    from fido.data.folder import FolderPhotos

    os.makedirs("many")
    for index in range(count):
        os.close(os.open(f"many/a_long_common_prefix_{index:07d}.png", os.O_CREAT))
    start = time.perf_counter()
    found = FolderPhotos(path="many", size=(40, 48)).entries()
    print(json.dumps({"seconds_listing": round(time.perf_counter() - start, 2)}), flush=True)
    assert len(found) == count


def fill(count: int) -> None:
    """Copies of the one result, of its scores and of its photo under so many names."""
    (result,) = Path("run/explanations").glob("*.safetensors")
    (scores,) = Path("run/scored").glob("*.json")
    content, scored = result.read_bytes(), scores.read_bytes()
    (line,) = (line for line in Path("run/.photos").read_bytes().splitlines() if line)
    lines = []
    for index in range(1, count):
        name = f"image_{index:07d}"
        os.link(f"photos/{FIRST}.png", f"photos/{name}.png")
        for source, text in ((result, content), (scores, scored)):
            new = source.with_name(source.name.replace(FIRST, name))
            new.write_bytes(text.replace(FIRST.encode(), name.encode()))
        lines.append(line.replace(FIRST.encode(), name.encode()))
    with Path("run/.photos").open("ab") as journal:
        journal.write(b"\n" + b"\n".join(lines) + b"\n")


def measured(work: Callable[[], None]) -> dict[str, float]:
    """Seconds and peak memory of a child that does the work."""
    from kills import warm

    warm()
    sys.stdout.flush()
    start = time.perf_counter()
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    _, status, usage = os.wait4(child, 0)
    assert not status
    return {
        "seconds_cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "seconds_clock": round(time.perf_counter() - start, 2),
        "peak_mb": usage.ru_maxrss // 1024,
    }


def disk(folder: Path) -> dict[str, int]:
    """Files and bytes of a folder."""
    sizes = [path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()]
    return {"files": len(sizes), "mb_on_disk": sum(sizes) // 2**20}


def report(what: str, count: int, values: dict[str, float]) -> None:
    """One line of JSON."""
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"what": what, "count": count, **values, "parent_mb": limit}), flush=True)


if __name__ == "__main__":
    main()
