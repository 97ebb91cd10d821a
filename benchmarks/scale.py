"""Many files: listing photos, starting a run again whose store is full, folders, tables.

    python benchmarks/scale.py                            # 100,000 photos; 50,000 results
    python benchmarks/scale.py list resume --count 5000   # some of list resume folders tables

- list: a folder of empty files with names of photos.
- resume: a run over one photo, its result, its scores and its photo copied under other names; the
  same command, which finds nothing to do.
- folders: files of a result's size written, listed and read in one folder, and in 256 folders by
  the first two digits of a digest.
- tables: `fido evaluate` of six stores whose results are copies and whose stored scores are drawn.

Printed are the seconds of the process's own work (user and system), seconds by the clock, the peak
memory, and the files and bytes on disk.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "benchmarks")]

FIRST = "image_0000000"
CLASSIFIER = (
    "classifier=custom",
    "classifier.network._target_=planted.BoxBrightness",
    "+classifier.network.box=[2,3,5,7]",
    "classifier.size=[10,12]",
    "classifier.mean=[0,0,0]",
    "classifier.std=[1,1,1]",
    "classifier.class_names=[dark,bright]",
    "classifier.crop_fraction=1.0",
    "infiller@generative_infiller=mean",
    "logger=none",
)
"""The classifier of the tests on images of 10 x 12 pixels; no network infills."""
RUN = (*CLASSIFIER, "infiller=mean", "figures=false", "report=false", "data=folder")
ROWS = ("gradient", "integrated_gradients", "smoothgrad", "random_map", "center", "full")
METRICS = "metrics=[deletion,insertion,saliency_metric,cost,removal_curve]"


def main() -> None:
    """Print a line a measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["list", "resume", "folders", "tables"])
    parser.add_argument("--count", type=int, help="100,000 to list, 50,000 of the others")
    given = parser.parse_args()
    for what in given.what:
        count = given.count or (100_000 if what == "list" else 50_000)
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            MEASURED[what](count)
            os.chdir(ROOT)


def measure_list(count: int) -> None:
    """List so many photos of one folder."""

    def listing() -> None:
        from fido.data.folder import FolderPhotos

        start = time.process_time()
        found = FolderPhotos(path="many", size=(10, 12)).entries()
        print(json.dumps({"seconds_listing": round(time.process_time() - start, 2)}), flush=True)
        assert len(found) == count

    os.makedirs("many")
    for index in range(count):
        os.close(os.open(f"many/a_long_common_prefix_{index:07d}.png", os.O_CREAT))
    report("list", count, measured(listing))


def measure_resume(count: int) -> None:
    """Start a run again, with one result and with many."""
    photo(FIRST)
    line = (*RUN, "explainer=gradient", "data.path=photos", "hydra.run.dir=run")
    measured(lambda: command("explain", *line))
    report("resume", 1, measured(lambda: command("explain", *line)))
    fill(Path("run"), count)
    report("resume", count, {**measured(lambda: command("explain", *line)), **disk(Path("run"))})


def measure_folders(count: int) -> None:
    """Write, list and read files in one folder and in 256."""
    content = os.urandom(24_000)
    names = [f"image_{index:07d}.class1.seed0.safetensors" for index in range(count)]
    for kind, prefix in (("one", False), ("prefixes", True)):
        places = [
            Path(kind) / (hashlib.sha256(name.encode()).hexdigest()[:2] if prefix else "") / name
            for name in names
        ]

        def write(places: list[Path] = places) -> None:
            for place in places:
                place.parent.mkdir(parents=True, exist_ok=True)
                temporary = place.with_name(f".{place.name}")
                temporary.write_bytes(content)
                temporary.replace(place)

        def listing(kind: str = kind) -> None:
            folders = [kind]
            seen = 0
            while folders:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        if entry.is_dir():
                            folders.append(entry.path)
                        else:
                            seen += entry.stat().st_size > 0
            assert seen == count

        def read(places: list[Path] = places) -> None:
            for place in random.Random(0).sample(places, min(count, 10_000)):
                with place.open("rb") as file:
                    file.read(600)

        for what, work in (("write", write), ("list", listing), ("read 10,000", read)):
            report(f"folders: {kind}, {what}", count, measured(work))
        print(json.dumps({"what": f"folders: {kind}", **disk(Path(kind))}), flush=True)


def measure_tables(count: int) -> None:
    """Score six stores whose scores are there: a part of the images, and all of them."""
    photo(FIRST)
    for row in ROWS:
        line = (*RUN, f"explainer={row}", "data.path=photos", f"hydra.run.dir={row}")
        measured(lambda line=line: command("explain", *line, METRICS))
    for row in ROWS:
        fill(Path(row), count)
    stores = ",".join(ROWS)
    line = (*CLASSIFIER, METRICS, f"store={stores}", "trust=true", "evaluation.reference_rows=[]")
    values = measured(lambda: command("evaluate", *line, "hydra.run.dir=tables"))
    (table,) = Path("tables").rglob("tables.md")
    report(f"tables of {len(ROWS)} rows", count, {**values, **disk(table.parent)})


MEASURED: dict[str, Callable[[int], None]] = {
    "list": measure_list,
    "resume": measure_resume,
    "folders": measure_folders,
    "tables": measure_tables,
}


def command(name: str, *words: str) -> None:
    """A command in this process; what it prints goes to a file."""
    from fido.app.command_line import run

    place = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(place, 1)
    run(name, words, f"fido {name}")


def photo(name: str) -> None:
    """A photo of 12 x 10 pixels with a bright box."""
    from planted import write_photo

    write_photo(Path("photos") / f"{name}.png", box=(2, 3, 5, 7), size=(10, 12))


def fill(run: Path, count: int) -> None:
    """Copies of a run's only result under so many names, with scores drawn about its own."""
    (result,) = (run / "explanations").glob("*.safetensors")
    (scores,) = (run / "scored").glob("*.json")
    content, scored = result.read_bytes(), json.loads(scores.read_text())
    (line,) = (line for line in (run / ".photos").read_bytes().splitlines() if line)
    draw, lines = random.Random(str(run)), []
    for index in range(1, count):
        name = f"image_{index:07d}"
        if not Path(f"photos/{name}.png").exists():
            os.symlink(f"{FIRST}.png", f"photos/{name}.png")  # a hard link changes the file's time
        target = run / "explanations" / result.name.replace(FIRST, name)
        target.write_bytes(content.replace(FIRST.encode(), name.encode()))
        for rows in scored.values():
            for entry in rows.values():
                drawn = {n: v and v * draw.uniform(0.5, 1) for n, v in entry["values"].items()}
                entry["values"] = drawn
        text = json.dumps(scored, sort_keys=True)
        (run / "scored" / scores.name.replace(FIRST, name)).write_text(text)
        lines.append(line.replace(FIRST.encode(), name.encode()))
    with (run / ".photos").open("ab") as journal:
        journal.write(b"\n" + b"\n".join(lines) + b"\n")


def measured(work: Callable[[], None]) -> dict[str, float]:
    """Seconds and peak memory of a child that does the work."""
    from kills import warm

    warm()
    sys.stdout.flush()
    start = time.perf_counter()
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    if status:
        log = Path("log.txt")
        raise RuntimeError(log.read_text()[-2000:] if log.is_file() else f"ended with {status}")
    return {
        "seconds_cpu": round(usage.ru_utime + usage.ru_stime, 2),
        "seconds_clock": round(time.perf_counter() - start, 2),
        "peak_mb": usage.ru_maxrss // 1024,
    }


def disk(folder: Path) -> dict[str, int]:
    """Files and bytes of a folder."""
    found = list(folder.rglob("*"))
    sizes = [path.stat().st_blocks * 512 for path in found if path.is_file()]
    folders = len(found) - len(sizes)
    return {"files": len(sizes), "folders": folders, "mb_on_disk": sum(sizes) // 2**20}


def report(what: str, count: int, values: dict[str, float]) -> None:
    """One line of JSON."""
    print(json.dumps({"what": what, "count": count, **values}), flush=True)


if __name__ == "__main__":
    main()
