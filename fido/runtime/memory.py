"""Memory that was freed is kept for the next pass."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # <malloc.h>
NEVER = -1  # as a threshold: the end of the heap does not go back to the system
AT_ONCE = 2**26  # bytes that the heap grows by


def keep_freed_memory() -> bool:
    """Have the C library keep large blocks after they were freed; call it before networks run.

    By default glibc hands blocks of some megabytes, which is what activations are, back to the
    system as soon as they are freed and asks for them again in the next pass: the system then
    clears every page anew, which on a CPU costs a large part of a forward pass
    (`benchmarks/allocator.py`). The process keeps its peak size instead. Numbers do not change.

    Returns:
        Whether it was done: not without glibc, and not where the environment sets up glibc's malloc
        itself (MALLOC_..., GLIBC_TUNABLES=glibc.malloc...), which then holds.
    """
    if not sys.platform.startswith("linux"):
        return False
    if any(name.startswith("MALLOC_") for name in os.environ):
        return False
    if "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    options = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: NEVER, M_TOP_PAD: AT_ONCE}
    done = [mallopt(option, value) == 1 for option, value in options.items()]
    return all(done)
