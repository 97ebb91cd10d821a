"""The command `fido`, and what the scripts of the clone call: `fido explain`, `python explain.py`.

Nothing here imports PyTorch before a command runs, so that help and lists come at once.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig

import fido
from fido.app.catalogue import KINDS, print_catalogue
from fido.app.folders import (
    conf_folder,
    is_empty,
    remove_begun,
    remove_unused,
    use_groups_of,
)
from fido.app.help import command_help, first_comment
from fido.app.messages import check_names, explained
from fido.app.quoting import quoted
from fido.app.sweep_end import sweep_results
from fido.runtime.collector import heap_left_alone
from fido.runtime.folder_lock import alone, at_work

ABOUT = "explain image classifiers by counterfactual infilling, and measure the explanations"
COMMANDS = ("explain", "evaluate", "train", "report", "compare", "dashboard")
"""Each is a root configuration `conf/<command>.yaml` and a function `run` in `fido.app`."""


def main() -> None:
    """The console command: `fido COMMAND [SETTING=VALUE ...]`."""
    words = sys.argv[1:]
    if words in (["--version"], ["-V"]):
        print(f"fido {fido.__version__}")
    elif not words or words[0] in ("--help", "-h", "help"):
        print(overview())
    elif words[0] == "list":
        with plain_errors():
            print_catalogue(words[1:])
    elif words[0] == "compare":
        folders = [word for word in words[1:] if _is_folder(word)]
        rest = [word for word in words[1:] if word not in folders]
        given = [f"store=[{','.join(map(json.dumps, folders))}]"] if folders else []
        run("compare", [*given, *rest], "fido compare")
    elif words[0] in COMMANDS:
        run(words[0], words[1:], f"fido {words[0]}")
    else:
        end_with(f"there is no command {words[0]!r}; there are {', '.join((*COMMANDS, 'list'))}")


def _is_folder(word: str) -> bool:
    """Whether a word is no setting: folders of a sweep's jobs are called `explainer=lime`."""
    return not word.startswith("-") and ("=" not in word or Path(word).is_dir())


def script(command: str, *given: str) -> None:
    """What a script of the clone does.

    Args:
        command: One of `COMMANDS`.
        *given: Settings that the script gives itself; those of the command line win.
    """
    run(command, [*given, *sys.argv[1:]], f"python {Path(sys.argv[0]).name}")


def run(command: str, words: Sequence[str], called: str) -> None:
    """Have Hydra compose a command's configuration and call the command with it.

    Hydra runs the jobs of a sweep. When all have ended, however they have, what they left is drawn
    and scored. Errors end the process with exit code 1 and their own words; with
    HYDRA_FULL_ERROR=1 with a traceback.

    Args:
        command: One of `COMMANDS`.
        words: Settings and Hydra's flags.
        called: How the user called it, for the help.
    """
    if {"--help", "-h"} & set(words):
        print(command_help(command, called, words))
        return
    if "--version" in words:
        print(f"fido {fido.__version__}")
        return
    use_utf8()
    with plain_errors():
        check_names(words)
        # Now, not before, because this is what takes seconds.
        import hydra

        use_groups_of(command)
        task = single_errors(import_module(f"fido.app.{command}").run)
        started = hydra.main(str(conf_folder()), command, version_base="1.3")
        sys.path.append(os.getcwd())  # of classifier.network._target_=my_module.load
        # Hydra takes its words from here only.
        sys.argv = [called, *quoted(words)]
        with sweep_results():
            started(task)()


def use_utf8() -> None:
    """Have names of files be UTF-8 whatever the locale says, and no name end a run when printed.

    Python takes the encoding of names from the locale once, at its start: so this starts it again
    where that is another one.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if isinstance(sys.stdout, io.TextIOWrapper):  # not where a test or a notebook has put its own
        sys.stdout.reconfigure(errors="backslashreplace")


def overview() -> str:
    """What `fido --help` prints."""
    about = {c: first_comment(conf_folder() / f"{c}.yaml") for c in COMMANDS}
    about["list"] = f"Say what there is: fido list [{'|'.join(KINDS)}]."
    lines = [f"  {command:<10} {text}" for command, text in about.items()]
    return "\n".join(
        [
            f"fido: {ABOUT}",
            "",
            "usage: fido COMMAND [SETTING=VALUE ...]",
            "",
            *lines,
            "",
            "fido COMMAND --help: its settings, options and examples. fido --version",
        ]
    )


class RunError(BaseException):
    """The error of a single run on its way past Hydra, which would announce it as a job's."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def single_errors(task: Callable[[DictConfig], Any]) -> Callable[[DictConfig], Any]:
    """A task whose errors end a single run at once; in a sweep the other jobs go on."""

    @wraps(task)
    def job(cfg: DictConfig) -> Any:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        folder, own = Path(HydraConfig.get().runtime.output_dir), False
        try:
            with heap_left_alone(), at_work(folder):
                own = is_empty(folder)
                return task(cfg)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(how_to_go_on()) from None
        except Exception as error:
            with alone(folder) as nobody_else:
                if own and nobody_else and explained(error) is not None and not _is_anothers(error):
                    remove_begun(folder)
                remove_unused(folder)
            if HydraConfig.get().mode == RunMode.RUN:
                raise RunError(error) from None
            raise

    return job


def _is_anothers(error: Exception) -> bool:
    """Whether a folder was refused for what another process has put there since the start."""
    from fido.runs.photos import PhotoMismatchError
    from fido.runs.result_file import OtherFormatError
    from fido.runs.run_settings import SettingsMismatchError

    return isinstance(error, PhotoMismatchError | OtherFormatError | SettingsMismatchError)


def how_to_go_on() -> str:
    """What an interrupted job has left, and the command line that goes on with it."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra = HydraConfig.get()
    folder, line = str(hydra.runtime.output_dir), [*shlex.split(sys.argv[0]), *sys.argv[1:]]
    results = len([*Path(folder, "explanations").glob("[!.]*.safetensors")])
    kept = f"{results} finished images are kept in {folder}. To go on: "
    if hydra.mode == RunMode.RUN and not any(word.startswith("hydra.run.dir=") for word in line):
        line.append(f"hydra.run.dir={folder}")
    return kept + shlex.join(line)


@contextmanager
def plain_errors() -> Iterator[None]:
    """End the process with what an error says; tracebacks are for errors of ours.

    Hydra prints errors itself and ends the process, unless HYDRA_FULL_ERROR is set: so it is, for
    its time here. Who has set it already sees all of the traceback.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        try:
            yield
        except RunError as raised:
            raise raised.error from None
        return
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        yield
    except KeyboardInterrupt as interrupt:
        words = interrupt.args[0] if interrupt.args else "the same command goes on where it was"
        end_with(f"interrupted; {words}", code=130)
    except (Exception, RunError) as raised:
        error = raised.error if isinstance(raised, RunError) else raised
        words = explained(error)
        if words is None:
            raise error from None
        end_with(words)
    finally:
        os.environ.pop("HYDRA_FULL_ERROR", None)


def end_with(words: str, code: int = 1) -> NoReturn:
    """Say what is wrong on stderr and end the process."""
    sys.stdout.flush()
    print(f"error: {words}", file=sys.stderr)
    raise SystemExit(code) from None
