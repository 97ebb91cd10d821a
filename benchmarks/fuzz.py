"""Malformed inputs by a seeded fuzzer: each is read, or refused in words; nothing hangs.

    python benchmarks/fuzz.py                # 1,000 inputs
    python benchmarks/fuzz.py --inputs 200 --seed 1

Inputs are whole ones (images of 11 formats, `boxes.csv`, JSON of a store, result files, weights,
words of a command line) with bytes flipped, cut off, doubled, put in, or nothing but noise, drawn
by hypothesis. Counted are

- tracebacks: errors that are not the reader's own (a ValueError or OSError with a text);
- hangs: inputs that take above 10 seconds;
- wrong successes: a file that lost a tenth of its bytes or more, or is noise, and is read all the
  same; boxes that are no boxes; text of a command line that arrives as something else.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import math
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "TGA", "ICO", "JPEG2000", "SGI")
LONGEST = 10.0  # seconds
KINDS = ("image", "csv", "json", "result", "weights", "words")
SHARES = {"image": 0.45, "csv": 0.15, "json": 0.1, "result": 0.1, "weights": 0.1, "words": 0.1}


def main() -> None:
    """Fuzz every reader, print a line each, and end with code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    logging.disable()  # of files that are set aside
    wrong = 0
    for kind, share in SHARES.items():
        counts = fuzz(kind, round(asked.inputs * share), asked.seed)
        print(json.dumps({"kind": kind, **counts}), flush=True)
        wrong += counts["tracebacks"] + counts["hangs"] + counts["wrong successes"]
    sys.exit(wrong > 0)


def warm() -> None:
    """Import what readers import, so that no input is charged for it."""
    import fido.app.messages
    import fido.classifiers.state
    import fido.data.boxes
    import fido.evaluation.score_store
    import fido.runs.store

    del fido


def fuzz(kind: str, inputs: int, seed: int) -> Counter[str]:
    """Try so many inputs of a kind."""
    warm()
    counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    attempt, example = ATTEMPTS[kind]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @seeded(seed)
        @settings(
            max_examples=inputs,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(example)
        def each(drawn: object) -> None:
            counts["inputs"] += 1
            start = time.monotonic()
            try:
                bad = attempt(Path(folder), drawn)
            except (ValueError, OSError) as error:
                counts["refused"] += 1
                bad = None if str(error).strip() else "an error without words"
            except Exception as error:
                counts["tracebacks"] += 1
                print(f"{kind}: {type(error).__name__}: {error}: {drawn!r:.200}", file=sys.stderr)
                return
            if time.monotonic() - start > LONGEST:
                counts["hangs"] += 1
                print(f"{kind}: {time.monotonic() - start:.0f} s: {drawn!r:.200}", file=sys.stderr)
            if bad:
                counts["wrong successes"] += 1
                print(f"{kind}: {bad}: {drawn!r:.200}", file=sys.stderr)

        each()
    return counts


COUNTED = ("inputs", "refused", "tracebacks", "hangs", "wrong successes")


@st.composite
def damaged(
    draw: st.DrawFn, wholes: st.SearchStrategy[tuple[str, bytes]]
) -> tuple[str, bytes, str]:
    """Name, damaged content, and what was done to it: "cut" and "noise" cannot be read."""
    name, whole = draw(wholes)
    how = draw(st.sampled_from(["flip", "cut", "insert", "repeat", "noise", "zeros", "empty"]))
    if how == "flip":
        content = bytearray(whole)
        for _ in range(draw(st.integers(1, 12))):
            content[draw(st.integers(0, len(whole) - 1))] = draw(st.integers(0, 255))
        return name, bytes(content), how
    if how == "cut":
        return name, whole[: draw(st.integers(1, len(whole) * 9 // 10))], how
    if how == "insert":
        place = draw(st.integers(0, len(whole)))
        return name, whole[:place] + draw(st.binary(min_size=1, max_size=40)) + whole[place:], how
    if how == "repeat":
        place = draw(st.integers(1, len(whole)))
        return name, whole[:place] + whole, how
    if how == "zeros":  # what a power cut leaves
        place = draw(st.integers(0, len(whole) - 1))
        return name, whole[:place] + bytes(len(whole) - place), how
    if how == "noise":
        return name, draw(st.binary(min_size=1, max_size=300)), how
    return name, b"", how


def images() -> list[tuple[str, bytes]]:
    """A noisy image in every format."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    found = []
    for form in FORMATS:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format=form)
        found.append((form, buffer.getvalue()))
    return found


def try_image(folder: Path, drawn: tuple[str, bytes, str]) -> str | None:
    from fido.data.photo import open_photo

    form, content, how = drawn
    path = folder / f"photo.{form.lower()}"
    path.write_bytes(content)
    photo = open_photo(path)
    if photo.mode != "RGB" or min(photo.size) < 1 or not np.asarray(photo).size:
        return f"read as {photo.mode} {photo.size}"
    # JPEG2000 and GIF say of no cut whether pixels are missing; noise may be a tiny TGA.
    return f"{how}: read" if how in ("noise", "empty") and form != "TGA" else None


def cells() -> st.SearchStrategy[str]:
    odd = ["nan", "inf", "-inf", "", " ", "1e999", "-0", "0x10", "1,0", "½", "None", '"', "\x00"]
    return st.one_of(
        st.sampled_from([*odd, "0", "0.5", "1", "2", "-1"]),
        st.floats(allow_nan=True, allow_infinity=True).map(str),
        st.text(max_size=6),
    )


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, bytes, str]:
    """A `boxes.csv`, damaged or with odd cells."""
    head = "file,class_index,xmin,ymin,xmax,ymax"
    good = f"{head}\na.png,1,0.1,0.2,0.5,0.6\nx/b.png,0,0,0,1,1\n".encode()
    if draw(st.booleans()):
        return draw(damaged(st.just(("boxes.csv", good))))
    rows = draw(st.lists(st.lists(cells(), min_size=0, max_size=8), max_size=4))
    lines = [head, *(",".join(["a.png", "1", "0.1", "0.2", *row][:9]) for row in rows)]
    return "boxes.csv", "\n".join(lines).encode("utf-8", "surrogatepass"), "cells"


def try_csv(folder: Path, drawn: tuple[str, bytes, str]) -> str | None:
    from fido.data.boxes import BoxedPhotos

    (folder / "boxes.csv").write_bytes(drawn[1])
    entries = BoxedPhotos(root=str(folder), size=(32, 32)).entries()
    for entry in entries:
        for box in entry.boxes or ():
            left, top, right, bottom = box
            if not all(map(math.isfinite, box)) or not (left < right and top < bottom):
                return f"a box that is none: {box}"
            if min(box) < -0.01 or max(box) > 1.01:
                return f"a box outside of its image: {box}"
    if len({entry.id for entry in entries}) != len(entries):
        return "two images of one id"
    return None


def results() -> list[tuple[str, bytes]]:
    """Files of a store."""
    from fido.records import Explanation, Sample
    from fido.runs.result_file import write_result

    sample = Sample("a", torch.rand(3, 8, 8), label=1, target=1)
    explanation = Explanation("a", 1, torch.rand(1, 8, 8), history={"loss": torch.rand(3)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.class1.seed0.safetensors"
        row = {"id": "a", "status": "explained", "target": 1, "label": 1, "seed": 0}
        write_result(path, sample, explanation, row)
        return [(path.name, path.read_bytes())]


def try_result(folder: Path, drawn: tuple[str, bytes, str]) -> str | None:
    from fido.runs.result_file import ResultFile

    name, content, how = drawn
    path = folder / name
    path.write_bytes(content)
    file = ResultFile(path)
    file.check()
    _ = file.explanation(), file.sample(), file.edit(), file.row, file.ranking, file.photo
    return f"{how}: read" if how in ("cut", "noise", "empty", "repeat") else None


def notes() -> list[tuple[str, bytes]]:
    return [
        ("settings.json", b'{"format": 2, "explainer": {"steps": 3}, "seed": 0}'),
        ("class_names.json", b'{"class_names": ["cat", "dog"]}'),
        ("not_explained/a.json", b'{"id": "a", "status": "failed", "reason": "x", "seed": 0}'),
        ("scored/a.class1.seed0.json", b'{"m": {"r": {"key": "k", "values": {"x": 0.5}}}}'),
    ]


def try_json(folder: Path, drawn: tuple[str, bytes, str]) -> str | None:
    from fido.evaluation.score_store import ScoreStore
    from fido.records import Key
    from fido.runs.store import ResultsStore

    name, content, how = drawn
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        store = ResultsStore(place)
        _ = store.settings(), store.class_names()
        aside = store.set_aside_damaged()
        rows = store.rows()
        ScoreStore(Path(place) / "scored").open(Key("a", 1, 0)).values("m", "r")
        if how in ("cut", "noise", "empty") and name.startswith("not_explained"):
            return None if aside else f"{how}: read as {rows}"
    return None


def tensors() -> list[tuple[str, bytes]]:
    """Weights in two formats."""
    from safetensors.torch import save

    state = {"weight": torch.rand(4, 4), "bias": torch.rand(4)}
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return [("net.safetensors", save(state)), ("net.pt", buffer.getvalue())]


def try_weights(folder: Path, drawn: tuple[str, bytes, str]) -> str | None:
    from fido.classifiers.state import read_state

    name, content, how = drawn
    (folder / name).write_bytes(content)
    read_state(folder / name)
    return f"{how}: read" if how in ("cut", "noise", "empty") else None


@st.composite
def words(draw: st.DrawFn) -> tuple[str, bool]:
    """A name of a file that is there, or a setting with any value."""
    letters = st.text(
        st.characters(blacklist_characters="/\x00\n\r", blacklist_categories=["Cs", "Cc"]),
        min_size=1,
        max_size=24,
    )
    return draw(letters), draw(st.booleans())


def try_words(folder: Path, drawn: tuple[str, bool]) -> str | None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    from fido.app.messages import explained
    from fido.app.quoting import quoted

    name, there = drawn
    here = os.getcwd()
    os.chdir(folder)
    try:
        if there:
            try:
                Path(name).touch()
            except OSError:
                return None
        (word,) = quoted([f"data.path={name}"])
        try:
            override = OverridesParser.create().parse_overrides([word])[0]
            value = OmegaConf.create({"a": override.value()}).a
        except Exception as error:
            if there:
                return f"cannot be given: {error}"
            if explained(error) is None:
                raise
            return None
        return f"arrives as {value!r}" if there and value != name else None
    finally:
        os.chdir(here)


ATTEMPTS: dict[str, tuple[Callable[..., str | None], st.SearchStrategy[object]]] = {
    "image": (try_image, damaged(st.deferred(lambda: st.sampled_from(images())))),
    "csv": (try_csv, tables()),
    "json": (try_json, damaged(st.deferred(lambda: st.sampled_from(notes())))),
    "result": (try_result, damaged(st.deferred(lambda: st.sampled_from(results())))),
    "weights": (try_weights, damaged(st.deferred(lambda: st.sampled_from(tensors())))),
    "words": (try_words, words()),
}


if __name__ == "__main__":
    main()
