"""Weights & Biases, which nobody is asked to have: a view of runs beside our own files."""

from __future__ import annotations

import csv
import hashlib
import netrc
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import wandb
from pytorch_lightning.loggers import Logger, WandbLogger
from torch import Tensor

from fido.loggers.base import NullLogger, steps
from fido.runs.observer import Result
from fido.runs.result_file import Row, file_stem
from fido.runs.shards import shard_name
from fido.runtime.files import read_json, write_json

LONGEST = 128
"""Letters of the name of a W&B run."""


def wandb_logged_in() -> bool:
    """Whether W&B could log in without asking, at the server that it is set to.

    It reads the same places as W&B, because `wandb.login` would keep what it finds for the process.
    """
    if os.environ.get("WANDB_API_KEY"):
        return True
    server = urlsplit(wandb.setup().settings.base_url).hostname
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(server or "") is not None
    except (FileNotFoundError, netrc.NetrcParseError):
        return False


MODES = ("online", "offline", "shared", "disabled")
ALIASES = {"dryrun": "offline", "run": "online"}
"""What W&B calls its modes, too."""

LIVE_EVERY = 10
"""Steps after which the newest points of the curves are sent together."""


def wandb_mode(mode: str) -> str:
    """A mode in which W&B asks nobody for anything, and sends nothing that nobody asked to send.

    Args:
        mode: "online", "offline", "shared", "disabled", or "auto": what WANDB_MODE says, else
            offline, whether a key is at hand or not.

    Raises:
        ValueError: If the mode is none of these.
    """
    chosen = os.environ.get("WANDB_MODE") or "offline" if mode == "auto" else mode
    chosen = ALIASES.get(chosen, chosen)
    if chosen not in MODES:
        raise ValueError(f"logger.mode must be auto, {', '.join(MODES)}; got {chosen!r}")
    return chosen


class WandbRunLogger(NullLogger):
    """One W&B run: configuration, curves while they grow, figures, scores, summary.

    A run that is started again in its folder goes on in the same W&B run, and in none at all where
    nothing is left to do. W&B never ends a run of ours: without a key, a network or a server that
    answers, the W&B run is kept offline, and the terminal says so. It is finished whatever happens,
    with exit code 1 after an error: otherwise the next job of a sweep would go on in the same run.

    Args:
        folder: The run's folder; W&B's own files go into `<folder>/wandb`.
        settings: The run's whole configuration.
        project: W&B project.
        mode: See `wandb_mode`.
        entity: W&B user or team; None is the key's own.
        group: Runs of one sweep share it; None is the folder's name for shards, else no group.
        name: Of the run; None is method and folder, with the shard where there are several.
        tags: Of the run; None takes its method, objective and infiller.
        images: Whether pictures are logged; without, photos stay on this machine.
        max_images: Curves and figures are logged for so many images; W&B keeps at most 108 images
            a key, and our files hold them all.
        log_model: Whether the weights of a training are logged, as an artifact of type "model".
        timeout: Seconds that W&B may take to answer before the run is kept offline.
        shard: Number of this shard.
        num_shards: Of how many.
    """

    def __init__(
        self,
        folder: str,
        settings: Mapping[str, Any],
        project: str = "fido",
        mode: str = "auto",
        entity: str | None = None,
        group: str | None = None,
        name: str | None = None,
        tags: list[str] | None = None,
        images: bool = True,
        max_images: int = 100,
        log_model: bool = False,
        timeout: float = 20,
        shard: int = 0,
        num_shards: int = 1,
    ) -> None:
        super().__init__(folder, settings)
        self.images = images
        self.max_images = max_images
        self.log_model = log_model
        self.timeout = timeout
        label = shard_name(shard, num_shards)
        if num_shards != 1:
            group = group or self.folder.name
        method = str(settings.get("axis/method") or "")
        self.note = self.folder / "wandb" / f"{label or 'run'}.json"
        self._options: dict[str, Any] = {
            "project": project,
            "mode": wandb_mode(mode),
            "entity": entity,
            "group": group,
            "name": name or " ".join(filter(None, [method, self.folder.name, label]))[:LONGEST],
            "tags": tags if tags is not None else [word[:64] for word in method.split()],
        }
        self._begun = False
        self._told = False
        self._run: Any = None
        self._training: WandbLogger | None = None
        self._mode = self._options["mode"]
        self._held: dict[str, float] = {}
        self._shown: dict[str, int] = {}
        self._curves: set[str] = set()
        self._live: list[tuple[Sequence[str], int, Mapping[str, Tensor]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._run is None:
            return
        place, mode = Path(self._run.dir).parent, self._mode
        url = self._run.url if mode in ("online", "shared") else None
        wandb.finish(exit_code=0 if kind is None else 1)
        if kind is not None and not self._told:  # a refused run, whose folder goes
            return
        if mode == "offline":
            print(f"W&B offline, nothing was sent. To send: wandb sync {shlex.quote(str(place))}")
        elif mode != "disabled":
            print(f"W&B {mode}: {url}, copy in {place}")

    @property
    def run(self) -> Any:
        """The W&B run, begun when something is to be logged."""
        if self._run is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                self._run = self._start(self._mode)
            except wandb.Error as error:
                reason = str(error).split("\n")[0]
                print(f"W&B cannot be reached, this run is kept offline: {reason}")
                self._mode = "offline"
                self._run = self._start("offline")
            self._run.define_metric("step")
            write_json(self.note, {**self._noted(), "id": self._run.id})
            if self._held:
                self._run.log(self._held)
                self._held = {}
        return self._run

    def _start(self, mode: str) -> Any:
        noted = self._noted().get("id")
        again = {"id": noted} if noted else {}
        if noted and mode in ("online", "shared"):
            again["resume"] = "allow"
        return wandb.init(
            dir=str(self.folder),
            config=dict(self.settings),
            job_type=job_type(self.settings),
            settings=wandb.Settings(silent=True, console="off", init_timeout=self.timeout),
            **{**self._options, "mode": mode},
            **again,
        )

    def _noted(self) -> dict[str, Any]:
        """Id of the W&B run of this folder and what it has been told already."""
        try:
            return read_json(self.note)
        except ValueError:
            return {}

    def begin(self, done: int, to_do: int) -> None:
        """See `Observer.begin`; a run with nothing to do begins no W&B run."""
        self._begun = True
        if to_do:
            _ = self.run

    def progress(
        self, ids: Sequence[str], done: int, total: int, values: Mapping[str, Tensor]
    ) -> None:
        """See `NullLogger.progress`."""
        if self._run is None:
            return
        self._live.append((list(ids), done, {k: v.detach() for k, v in values.items()}))
        if done % LIVE_EVERY == 0 or done == total:
            self._send_live()

    def _send_live(self) -> None:
        for ids, done, values in self._live:
            self._along_steps(values)
            for i, image_id in enumerate(ids):
                if image_id not in self._shown and len(self._shown) >= self.max_images:
                    continue
                self._shown[image_id] = self._shown.get(image_id, 0) + 1
                row = {f"{name}/{image_id}": float(v[i]) for name, v in values.items() if v.ndim}
                self._run.log({"step": done - 1, **row})
        self._live = []

    def _along_steps(self, curves: Iterable[str]) -> None:
        """Have W&B draw curves over the steps of a fit."""
        for curve in sorted(set(curves) - self._curves):
            self._curves.add(curve)
            self.run.define_metric(f"{curve}/*", step_metric="step")

    def result(self, result: Result) -> None:
        """See `Observer.result`."""
        self._told = True
        self._send_live()
        run, image_id = self.run, result.sample.id
        scores = {f"scores/{k}": v for k, v in result.row.items() if isinstance(v, int | float)}
        run.log({**scores, "seconds": result.seconds})
        if image_id not in self._shown and len(self._shown) >= self.max_images:
            return
        self._along_steps(result.explanation.history)
        points = list(steps(result.explanation.history))
        if self._shown.pop(image_id, 0) != len(points):  # not told of every step on the way
            for step, values in enumerate(points):
                run.log({"step": step, **{f"{k}/{image_id}": v for k, v in values.items()}})
        self._shown[image_id] = 0
        caption = f"{image_id}: {result.row['target_name']}"
        figure = self.folder / "figures" / f"{file_stem(result.explanation.key)}.png"
        if self.images and figure.is_file():
            run.log({"explanation": wandb.Image(str(figure), caption=caption)})
        counterfactual, film = result.explanation.counterfactual, figure.with_suffix(".gif")
        if self.images and counterfactual is not None:
            pixels = counterfactual.permute(1, 2, 0).numpy()
            run.log({"counterfactual": wandb.Image(pixels, caption=caption)})
        if self.images and film.is_file():
            run.log({"film": wandb.Video(str(film), caption=caption, format="gif")})

    def skipped(self, row: Row) -> None:
        """See `Observer.skipped`."""
        if self._run is not None:
            self._run.log({f"{row['status']}": 1})

    def summary(self, summary: Mapping[str, Any]) -> None:
        """See `NullLogger.summary`."""
        if self._run is not None or not self._begun:
            self.run.summary.update(dict(summary))

    def measures(self, values: Mapping[str, float]) -> None:
        """See `NullLogger.measures`; top-level keys, because W&B sweeps optimise no others."""
        if self._run is None and self._begun:
            self._held |= values  # for a run that something else, new scores, may begin yet
        else:
            self.run.log(dict(values))

    def scores(self, scores: Path, figures: Mapping[str, Path]) -> None:
        """See `NullLogger.scores`."""
        if not self._is_new("scores", scores.read_text(encoding="utf-8")):
            return
        with scores.open(newline="", encoding="utf-8") as lines:
            head, *rows = csv.reader(lines)
        self.run.log({"scores": wandb.Table(columns=[*head], data=rows)})
        for name, figure in figures.items() if self.images else ():
            self.run.log({f"figures/{name}": wandb.Image(str(figure))})

    def report(self, folder: Path) -> None:
        """See `NullLogger.report`: the tables as W&B tables, their file as an artifact."""
        tables = folder / "tables.json"
        if not tables.is_file() or not self._is_new("report", tables.read_text(encoding="utf-8")):
            return
        for table in read_json(tables)["tables"]:
            lines = [line + [""] * (len(table["head"]) - len(line)) for line in table["lines"]]
            self.run.log({f"tables/{table['title']}": wandb.Table(table["head"], lines)})
        self.run.log_artifact(self._artifact("report", [tables]))

    def _artifact(self, kind: str, files: Sequence[Path]) -> Any:
        """Files under the folder's name, in the letters that W&B takes."""
        plain = re.sub(r"[^\w.-]+", "-", self.folder.name, flags=re.ASCII)[-100:]
        artifact = wandb.Artifact(f"{kind}-{plain}", type=kind)
        for file in files:
            artifact.add_file(str(file))
        return artifact

    def _is_new(self, what: str, content: str) -> bool:
        """Whether W&B has not been told this before; from now on it has."""
        digest, noted = hashlib.sha256(content.encode(errors="replace")).hexdigest(), self._noted()
        if noted.get(what) == digest:
            return False
        write_json(self.note, {**noted, what: digest})
        return True

    def model(self, files: Sequence[Path]) -> None:
        """See `NullLogger.model`; only where `log_model` asks for it."""
        if self.log_model and self._training is not None:
            self._training.experiment.log_artifact(self._artifact("model", files))

    def lightning(self) -> WandbLogger:
        """A W&B run of a training; `close` it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        mode = self._options["mode"]
        if mode in ("online", "shared") and not wandb_logged_in():
            print("W&B has no key here, this training is kept offline")
            mode = "offline"
        options = {**self._options, "mode": mode, "job_type": "train"}
        self._training = WandbLogger(
            save_dir=str(self.folder), offline=mode == "offline", **options
        )
        return self._training


def job_type(settings: Mapping[str, Any]) -> str:
    """What a run does, by what its configuration holds."""
    words = {"explainer": "explain", "training": "train", "sweep_of": "sweep"}
    return next((word for key, word in words.items() if key in settings), "evaluate")


def close(logger: Logger) -> None:
    """End a run of Weights & Biases, so that all of it is on disk or sent."""
    if isinstance(logger, WandbLogger):
        logger.experiment.finish()
