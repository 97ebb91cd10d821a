"""Commands in processes of their own that have imported everything already.

Starting `python explain.py` imports for seconds what it then uses for tenths of one. Here a server
imports it once for each process of pytest, and every command is a fork of it: with its own working
folder, environment, arguments, output, signals and exit code, as after a real start. What depends
on the start itself (what is imported, the seed of hashes) is tested with `anew=True`.
"""

from __future__ import annotations

import gc
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

HELPERS = Path(__file__).resolve().parent
ROOT = HELPERS.parents[1]
LARGEST = 1 << 17  # bytes of a request
FORKS = sys.platform == "linux"  # elsewhere libraries do not survive a fork


def run(
    line: Sequence[str | Path],
    cwd: Path,
    env: Mapping[str, str],
    timeout: float = 240,
    anew: bool = False,
    root: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run(line, capture_output=True, text=True)` returns.

    Args:
        line: `[sys.executable, SCRIPT, *words]`, or `-c` or `-m` in the place of the script.
        cwd: The working folder.
        env: The whole environment.
        timeout: In seconds.
        anew: Really start Python.
        root: The folder that holds the package fido.
    """
    process = start(line, cwd, env, anew, root)
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException:
        process.kill()
        raise
    return subprocess.CompletedProcess(line, process.returncode, out, err)


def start(
    line: Sequence[str | Path],
    cwd: Path,
    env: Mapping[str, str],
    anew: bool = False,
    root: Path = ROOT,
) -> Any:
    """Start a command and return at once; `run` describes the arguments.

    Returns:
        What is used of a `subprocess.Popen` with captured text: `pid`, `returncode`, `poll`,
        `communicate`, `send_signal`, `kill`.
    """
    words = [str(word) for word in line]
    if anew or not FORKS:
        pipe = subprocess.PIPE
        return subprocess.Popen(words, cwd=cwd, env=env, stdout=pipe, stderr=pipe, text=True)
    assert words[0] == sys.executable
    return Process(words, cwd, env, root)


class Process:
    """A fork of the server; see `start`."""

    def __init__(self, line: list[str], cwd: Path, env: Mapping[str, str], root: Path) -> None:
        self.args, self.returncode = line, None
        # Open as long as this object is.
        self._files: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        self._told, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        fields = [str(cwd), str(len(line)), *line, *(f"{k}={v}" for k, v in env.items())]
        message = "\0".join(fields).encode(errors="surrogateescape")
        with far:
            handles = [*(file.fileno() for file in self._files), far.fileno()]
            socket.send_fds(server(root), [message], handles)
        self.pid = self._answer(600)  # the server may have to import first

    def _answer(self, timeout: float | None) -> int:
        self._told.settimeout(timeout)
        said = self._told.recv(64)
        if not said:
            raise RuntimeError("the process that imports for all commands has ended")
        return int(said)

    def poll(self) -> int | None:
        """The exit code, None while the command runs."""
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.returncode = self._answer(None)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what was written to stdout and stderr."""
        if self.returncode is None:
            try:
                self.returncode = self._answer(timeout)
            except TimeoutError:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
        texts = []
        for file in self._files:
            file.seek(0)
            texts.append(file.read().decode())
        return texts[0], texts[1]

    def send_signal(self, number: int) -> None:
        """Send a signal to the command, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the command at once."""
        self.send_signal(signal.SIGKILL)


@cache
def server(root: Path) -> socket.socket:
    """Start a server of this process of pytest; it ends when this socket is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HYDRA"))}
    with theirs:
        subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            env={**clean, "PYTHONPATH": str(root), "HOME": "/nonexistent"},
            pass_fds=[theirs.fileno()],
        )
    return ours


# The server.


def import_all() -> None:
    """Import every module of fido that needs no extra, and what they import when first used."""
    import fido

    for module in pkgutil.walk_packages(fido.__path__, "fido."):
        with suppress(ImportError):
            import_module(module.name)
    import_module("hydra.main")


def serve(requests: socket.socket) -> list[str] | None:
    """Fork for every request. Returns in each fork, with its command, and at the end with None."""
    path = sys.path[2:]  # without this folder and the clone
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for who waits for a command
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at the terminal is for pytest
    while True:
        message, handles, _, _ = socket.recv_fds(requests, LARGEST, 3)
        if not message:
            return None
        if not os.fork():
            break
        for handle in handles:
            os.close(handle)
    requests.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err, far = handles
    with socket.socket(fileno=far) as told:
        if command := os.fork():
            told.send(str(command).encode())
            _, status = os.waitpid(command, 0)
            with suppress(BrokenPipeError):
                told.send(str(os.waitstatus_to_exitcode(status)).encode())
            os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cwd, count, *fields = message.decode(errors="surrogateescape").split("\0")
    line, variables = fields[: int(count)], fields[int(count) :]
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variable.split("=", 1) for variable in variables)
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    here = str(Path(line[1]).resolve().parent)
    if line[1] in ("-c", "-m"):
        here = "" if line[1] == "-c" else cwd
    sys.path[:] = [here, *filter(None, own), *path]
    sys.orig_argv[:] = line
    return line


def separate() -> None:
    """Give a fork a folder of its own for W&B's media: the import made one, which every fork, at
    its end, would remove for all.
    """
    private = sys.modules.get("wandb.sdk.data_types._private")
    if private is not None:
        private.MEDIA_TMP.name = tempfile.mkdtemp("wandb-media")


def execute(line: Sequence[str]) -> None:
    """Do what Python does with its arguments."""
    if line[1] == "-c":
        sys.argv[:] = line[1:2] + line[3:]
        exec(compile(line[2], "<string>", "exec"), {"__name__": "__main__"})
    elif line[1] == "-m":
        sys.argv[:] = line[2:]
        runpy.run_module(line[2], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = line[1:]
        runpy.run_path(line[1], run_name="__main__")


if __name__ == "__main__":
    import_all()
    gc.freeze()
    given = serve(socket.socket(fileno=int(sys.argv[1])))
    if given is not None:
        separate()
        execute(given)
