"""Many images by many processes: throughput against one process, memory, a worker that is killed.

    python benchmarks/throughput.py                              # 50,000 by gradient, 4 processes
    python benchmarks/throughput.py --count 2000 --method fido --steps 5
    python benchmarks/throughput.py --by shards --single 1000

One process explains a part of the images; then four shards explain all of them, and then the four
workers of `executor=ray`. At 30 % one worker is killed: a shard is started again by hand, one of
Ray by Ray. Between 10 % (of the work of several: 40 %, when the killed one is back) and 90 % of
the images the images in a second are counted, by the clock and in seconds of the processes' own
work: the second does not depend on what else the machine does.

Images are links to one photo of 12 x 10 pixels, the classifier is that of the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "benchmarks")]

from kills import fork, warm  # noqa: E402
from scale import FIRST, RUN, photo  # noqa: E402

WORKERS = 4
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Look:
    """What was seen at one moment: results on disk, and seconds and MB of every process."""

    clock: float
    done: int
    cpu: float
    waited: float
    mb: dict[int, int]


@dataclass
class Watch:
    """Looks at processes while they work.

    Attributes:
        folder: Of the run.
        looks: In order.
    """

    folder: Path
    looks: list[Look] = field(default_factory=list)
    _ended: dict[int, tuple[float, float]] = field(default_factory=dict)

    def look(self, processes: list[int]) -> Look:
        """Look at processes; what those that have ended did still counts."""
        mb = {}
        for process in processes:
            seen = _about(process)
            if seen is not None:
                self._ended[process] = seen[:2]
                mb[process] = seen[2]
        explanations = self.folder / "explanations"
        names = os.listdir(explanations) if explanations.is_dir() else []
        done = sum(not name.startswith(".") for name in names)
        cpu, waited = (sum(pair[i] for pair in self._ended.values()) for i in (0, 1))
        self.looks.append(Look(time.monotonic(), done, cpu, waited, mb))
        return self.looks[-1]

    def rates(self, count: int, begin: float) -> dict[str, float]:
        """Between two shares of the images."""
        there = [look for look in self.looks if begin * count <= look.done <= 0.9 * count]
        first, last = there[0], there[-1]
        images = max(last.done - first.done, 1)
        return {
            "images": images,
            "clock_ms": round(1000 * (last.clock - first.clock) / images, 2),
            "cpu_ms": round(1000 * (last.cpu - first.cpu) / images, 2),
            "waited_for_a_core_ms": round(1000 * (last.waited - first.waited) / images, 2),
        }

    def memory(self, count: int) -> dict[str, list[int]]:
        """MB of the processes at 10 %, 50 % and 90 % of the images, and the most of each."""
        found = {}
        for share in (0.1, 0.5, 0.9):
            look = next((look for look in self.looks if look.done >= share * count), self.looks[-1])
            found[f"{share:.0%}"] = sorted(look.mb.values())
        most: dict[int, int] = {}
        for look in self.looks:
            most |= {pid: max(mb, most.get(pid, 0)) for pid, mb in look.mb.items()}
        return {**found, "most": sorted(most.values())}


def _about(process: int) -> tuple[float, float, int] | None:
    """Seconds of work, seconds of waiting for a core, resident MB."""
    place = Path(f"/proc/{process}")
    try:
        stat = (place / "stat").read_text().rpartition(")")[2].split()
        waited = int((place / "schedstat").read_text().split()[1]) / 1e9
        pages = int((place / "statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    if stat[0] == "Z":
        return None
    return (int(stat[11]) + int(stat[12])) / TICKS, waited, pages * PAGE // 2**20


def main() -> None:
    """Print a line of JSON a way of working."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--single", type=int, default=2_000)
    parser.add_argument("--method", default="gradient")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--by", nargs="*", default=["shards", "ray"])
    given = parser.parse_args()
    line = [*RUN, f"explainer={given.method}"]
    line += [f"explainer.steps={given.steps}", "mask.grid=[5,6]"] if given.steps else []

    warm()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        photo(FIRST)
        for name, count in (("few", given.single), ("photos", given.count)):
            os.makedirs(name, exist_ok=True)
            for index in range(count):
                if not Path(f"{name}/image_{index:07d}.png").exists():
                    os.link(f"photos/{FIRST}.png", f"{name}/image_{index:07d}.png")
        alone = single(line, given.single)
        print(json.dumps({"by": "one process", **alone}), flush=True)
        for way in given.by:
            values = WAYS[way](line, given.count)
            ideal = alone["cpu_ms"] / values["cpu_ms"]
            print(json.dumps({"by": way, **values, "of_ideal": round(ideal, 3)}), flush=True)
        os.chdir(ROOT)


def alive(child: int) -> bool:
    """Whether a child works still.

    Raises:
        RuntimeError: If it has failed.
    """
    ended, status = os.waitpid(child, os.WNOHANG)
    if ended and status:
        raise RuntimeError(Path("log.txt").read_text()[-2000:])
    return not ended


def single(line: list[str], count: int) -> dict[str, object]:
    """One process."""
    child = fork("explain", *line, "data.path=few", "hydra.run.dir=single")
    watch = Watch(Path("single"))
    while alive(child):
        watch.look([child])
        time.sleep(0.5)
    return {**watch.rates(count, 0.1), "mb": watch.memory(count)}


def shards(line: list[str], count: int) -> dict[str, object]:
    """Four processes, of which one is killed and started again."""
    words = [
        (*line, "data.path=photos", "hydra.run.dir=shards", f"num_shards={WORKERS}", f"shard={i}")
        for i in range(WORKERS)
    ]
    children, watch = [fork("explain", *one) for one in words], Watch(Path("shards"))
    working, every, killed = list(children), list(children), 0
    while working:
        look = watch.look(every)
        if not killed and look.done > 0.3 * count:
            os.kill(children[1], signal.SIGKILL)
            os.waitpid(children[1], 0)
            working.remove(children[1])
            killed = time.time_ns()
            before = set(os.listdir("shards/explanations"))
            working.append(fork("explain", *words[1]))
            every.append(working[-1])
        working = [child for child in working if alive(child)]
        time.sleep(1)
    return {**outcome(watch, count, before, killed), "processes": WORKERS}


def ray(line: list[str], count: int) -> dict[str, object]:
    """Four workers of Ray, of which one is killed."""
    words = ("executor=ray", f"executor.num_shards={WORKERS}", "executor.cpus=0.5")
    driver = fork("explain", *line, "data.path=photos", "hydra.run.dir=ray", *words)
    watch, killed, every = Watch(Path("ray")), 0, [driver]
    notes = [Path(f"ray/env/shard_{i}_of_{WORKERS}.json") for i in range(WORKERS)]
    while alive(driver):
        for note in notes:
            pid = json.loads(note.read_text())["pid"] if note.is_file() else driver
            if pid not in every:
                every.append(pid)
        look = watch.look(every)
        if not killed and look.done > 0.3 * count:
            killed = time.time_ns()
            os.kill(json.loads(notes[1].read_text())["pid"], signal.SIGKILL)
            before = set(os.listdir("ray/explanations"))
        time.sleep(1)
    driver_mb = [look.mb[driver] for look in watch.looks if driver in look.mb]
    values = outcome(watch, count, before, killed)
    return {**values, "processes": WORKERS, "driver_mb": [driver_mb[0], max(driver_mb)]}


def outcome(watch: Watch, count: int, before: set[str], killed: int) -> dict[str, object]:
    """Rates, memory, and what the kill cost."""
    explanations = watch.folder / "explanations"
    results = {name for name in os.listdir(explanations) if not name.startswith(".")}
    whole = {name for name in before if not name.startswith(".")}
    again = [n for n in whole if (explanations / n).stat().st_mtime_ns > killed + 10**9]
    summary = json.loads((watch.folder / "summary.json").read_text())
    return {
        **watch.rates(count, 0.4),
        "mb": watch.memory(count),
        "lost": count - len(results),
        "made_again": len(again),
        "missing": summary["missing"],
    }


WAYS: dict[str, Callable[[list[str], int], dict[str, object]]] = {"shards": shards, "ray": ray}


if __name__ == "__main__":
    main()
