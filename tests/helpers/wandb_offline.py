"""Reads an offline W&B run back: its log is a LevelDB log of protobuf records."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7


def records(path: Path) -> Iterator[Any]:
    """Every record of a `run-*.wandb` file, in order."""
    data, at, parts = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:  # too short for a header: padding up to the next block
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def values(items: Any) -> dict[str, Any]:
    """Key to value; what was logged as a dictionary comes back as one."""
    found: dict[str, Any] = {}
    for item in items:
        *outer, last = list(item.nested_key) or [item.key]
        place = found
        for key in outer:
            place = place.setdefault(key, {})
        place[last] = json.loads(item.value_json)
    return found


def read_run(folder: Path) -> dict[str, Any]:
    """What the one run in a folder was told.

    Config, group, history (a row a step), summary, artifacts and exit code.
    """
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    run: dict[str, Any] = {"history": [], "summary": {}, "config": {}, "folder": path.parent}
    run["artifacts"] = []
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run["group"], run["project"] = record.run.run_group, record.run.project
            run["config"] |= values(record.run.config.update)
        elif kind == "history":
            run["history"].append(values(record.history.item))
        elif kind == "summary":
            run["summary"] |= values(record.summary.update)
        elif kind == "artifact":
            run["artifacts"].append(record.artifact)
        elif kind == "request" and record.request.HasField("log_artifact"):
            run["artifacts"].append(record.request.log_artifact.artifact)
        elif kind == "exit":
            run["exit_code"] = record.exit.exit_code
    return run
