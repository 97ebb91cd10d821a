"""Short versions of `benchmarks/kills.py` and `benchmarks/fuzz.py`."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import warm_process

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def module(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("command", "kills"),
    [
        ("explain", 8),
        pytest.param("evaluate", 6, marks=pytest.mark.slow),
        pytest.param("report", 6, marks=pytest.mark.slow),
        pytest.param("train", 6, marks=pytest.mark.slow),
    ],
)
def test_sigkill_at_random_moments_loses_nothing(command, kills):
    # A process of its own: one that has computed must not be forked.
    line = f"import kills, json; print(json.dumps(kills.run({command!r}, {kills}, 0)))"
    told = warm_process.run([sys.executable, "-c", line], BENCHMARKS, os.environ, timeout=280)
    assert told.returncode == 0, told.stderr[-2000:]
    counts = json.loads(told.stdout.splitlines()[-1])
    assert counts["kills"] == kills
    assert (counts["lost"], counts["torn"], counts["different"]) == (0, 0, 0), told.stderr
    assert counts["files"] > 0


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [("image", 90), ("csv", 30), ("json", 20), ("result", 20), ("weights", 20), ("words", 20)],
)
def test_malformed_inputs_are_read_or_refused_in_words(kind, inputs, capsys):
    pytest.importorskip("hypothesis")
    counts = module("fuzz").fuzz(kind, inputs, seed=0)
    assert counts["inputs"] >= inputs * 0.9
    wrong = counts["tracebacks"], counts["hangs"], counts["wrong successes"]
    assert wrong == (0, 0, 0), capsys.readouterr().err
