"""Freed memory is kept: no page is asked for twice, and the user's own settings hold."""

import os
import subprocess
import sys

import pytest

from fido.runtime.memory import keep_freed_memory

ALLOCATE = """
import resource, sys, torch
from fido.runtime.memory import keep_freed_memory
done = keep_freed_memory() if sys.argv[1] == "keep" else None
for i in range(40):
    if i == 30:  # the heap has grown
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16, 1024, 1024)
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(what, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATE, what],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    said, count = done.stdout.split()
    return said, int(count)


def test_pages_are_asked_for_once():
    said, kept = faults("keep")
    if said == "False":
        pytest.skip("this C library has no mallopt")
    _, returned = faults("leave")
    assert returned > 10 * 16 * 1024 / 4  # 64 MB in pages of 4 kB, ten times, if not larger pages
    assert kept < returned / 100


def test_the_users_own_setting_holds(monkeypatch):
    assert faults("keep", MALLOC_MMAP_MAX_="65536")[0] == "False"
    assert faults("keep", GLIBC_TUNABLES="glibc.malloc.mmap_max=65536")[0] == "False"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
