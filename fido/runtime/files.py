"""Files that appear whole or not at all, also where several processes write into one folder."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems without hard links answer when asked for one."""


class DamagedFileError(ValueError):
    """A file that fido wrote cannot be read; the message names it and says what to do."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(
            f"{path} is damaged ({reason}): remove it, and the command that wrote it makes it again"
        )
        self.path, self.reason = path, str(reason)

    def __reduce__(self) -> tuple[type[DamagedFileError], tuple[Path, str]]:
        return type(self), (self.path, self.reason)  # errors of workers travel


def set_aside(path: Path, folder: Path | None = None) -> Path | None:
    """Move a file that cannot be read to `damaged/`.

    Args:
        path: The file.
        folder: Where `damaged/` is; None is the file's own folder.

    Returns:
        Where it is now; None if another process has moved it.
    """
    target = (folder or path.parent) / "damaged" / path.name
    target.parent.mkdir(exist_ok=True)
    try:
        path.replace(target)
    except FileNotFoundError:
        return None
    return target


def read_json(path: Path | str) -> dict[str, Any]:
    """The content of a JSON file; empty if there is none.

    Raises:
        DamagedFileError: If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            content = json.loads(file.read().decode())
        if not isinstance(content, dict):
            raise ValueError(f"expected a JSON object, got {type(content).__name__}")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(Path(path), error) from error
    return content


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` on success, removed on failure.

    The temporary name keeps the suffix of `path`, because image writers look at it. The file may be
    read by whom the process lets read its files: some writers (safetensors) would have it for the
    owner alone.
    """
    with _temporary(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        os.chmod(temporary, mode)
        flush(temporary)
        os.replace(temporary, path)


def flush(path: Path) -> None:
    """Have the disk hold a file's bytes.

    Without it a power cut soon after a rename may leave an empty file of that name (ext4, xfs).
    """
    place = os.open(path, os.O_RDWR)
    try:
        os.fsync(place)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # file systems that cannot
            raise
    finally:
        os.close(place)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; file names that are no UTF-8 appear with escaped bytes."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, non-finite numbers refused."""
    write_text(path, _json(value))


def create_json(path: Path, value: Any) -> bool:
    """Write JSON atomically unless there is a file already.

    Returns:
        Whether it was written. Of several processes that try at once only one gets True.
    """
    with _temporary(path) as temporary:
        temporary.write_text(_json(value), encoding="utf-8")
        flush(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            # Here two that create the file within the same milliseconds both get True.
            if path.exists():
                return False
            os.replace(temporary, path)
    return True


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside `path` that no other process has: those of containers share process ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:12]}.tmp{path.suffix}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _json(value: Any) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        text.encode()
    except UnicodeEncodeError:  # file names that are no UTF-8
        return json.dumps(value, indent=2, allow_nan=False) + "\n"
    return text
