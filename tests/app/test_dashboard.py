"""What W&B shows: the dashboard's panels name what a real run of `explain.py` logs."""

import json
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import warm_process
import yaml
from configurations import explain_config
from omegaconf import OmegaConf
from planted import BOX, PLANTED, write_photo
from wandb_offline import read_run

pytest.importorskip("wandb_workspaces", reason="needs the extra `dashboard`")

ROOT = Path(__file__).resolve().parents[2]
SWEEPS = ROOT / "conf" / "wandb_sweep"
SCORED = (
    *PLANTED,
    "mask.grid=[10,12]",
    "explainer.samples=2",
    "explainer.steps=5",
    "data=boxes",
    "data.root=photos",
    "data.resize=squash",
    "metrics=[localization,saliency_metric,outside_box,removal_curve,deletion,insertion]",
)


def run(folder, *command, **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HYDRA", "FIDO"))}
    own = {"PYTHONPATH": str(ROOT / "tests" / "helpers"), "HOME": str(folder)}
    return warm_process.run(command, folder, {**clean, **own, **variables})


def dashboard(folder, *overrides, **variables):
    return run(folder, sys.executable, str(ROOT / "dashboard.py"), *overrides, **variables)


def write_boxed_photos(folder):
    left, top, right, bottom = BOX
    lines = ["file,class_index,xmin,ymin,xmax,ymax"]
    for name in "ab":
        write_photo(folder / "images" / f"{name}.png")
        lines.append(f"{name}.png,1,{left / 48},{top / 40},{right / 48},{bottom / 40}")
    (folder / "boxes.csv").write_text("\n".join(lines) + "\n")


def agent_runs(folder, sweep, args, *overrides):
    """What `wandb agent` does with one set of a sweep's parameters, by its own code, offline."""
    from wandb.wandb_agent import Agent

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "HYDRA", "FIDO"))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            os,
            "environ",
            {
                **clean,
                "WANDB_MODE": "offline",
                "WANDB_SWEEP_ID": "mine",
                "HOME": str(folder),
                "PYTHONPATH": str(ROOT / "tests" / "helpers"),
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            },
        )
        patch.chdir(folder)
        agent = Agent(api=None, queue=None)
        agent._sweep_command = [*sweep["command"], *overrides]
        command = {"type": "run", "run_id": "first", "program": str(ROOT / sweep["program"])}
        values = {name: {"value": value} for name, value in args.items()}
        answer = agent._process_command({**command, "args": values})
        assert "exception" not in answer, answer
        return agent._run_processes["first"].wait(timeout=240)


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A run of the grid sweep, with every metric that the dashboard shows."""
    folder = tmp_path_factory.mktemp("agent")
    write_boxed_photos(folder / "photos")
    sweep = yaml.safe_load((SWEEPS / "grid.yaml").read_text())
    first = {name: options["values"][0] for name, options in sweep["parameters"].items()}
    assert agent_runs(folder, sweep, first, *SCORED) == 0
    (run,) = (folder / "outputs" / "wandb_sweeps" / "mine").iterdir()
    assert run.name.startswith("classifier.class_names=")
    return read_run(run)


def panels(spec):
    for section in spec["spec"]["section"]["panelBankConfig"]["sections"]:
        yield from section["panels"]


def keys_of(spec):
    """(section, key or regex) of everything that the panels and the pinned columns name."""
    for panel in panels(spec):
        config = panel["config"]
        if panel["viewType"] == "Run History Line Plot":
            yield "history", config["xAxis"]
            yield "regex", config["metricRegex"]
        for key in config.get("metrics", []):
            yield "history", key
        for key in config.get("mediaKeys", []):
            yield "history", key
        if "groupBy" in config:
            yield "config", config["groupBy"]
        for column in config.get("columns", []):
            yield tuple(column["accessor"].split(":", 1))
    for column in spec["spec"]["section"]["runSets"][0]["runFeed"]["columnPinned"]:
        yield tuple(column.split(":", 1))


def test_every_key_of_the_dashboard_is_logged_by_a_real_run(tmp_path, logged):
    done = dashboard(tmp_path, "save=false", "group=mine", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "specification: " + str(tmp_path / "out" / "dashboard.json")
    spec = json.loads((tmp_path / "out" / "dashboard.json").read_text())
    history = {key for row in logged["history"] for key in row}
    named = list(keys_of(spec))
    assert {section for section, _ in named} == {"history", "regex", "config", "summary", "run"}
    for section, key in named:
        if section == "regex":
            assert {k for k in history if re.match(key, k)} == {
                f"{key.strip('^/.*')}/{image}" for image in "ab"
            }
        elif section == "config":
            assert logged["config"][key.removesuffix(".value")] is not None, key
        elif section == "run":
            assert key == "displayName"
        else:
            assert key in history, key
            assert section == "history" or isinstance(logged["summary"][key], int | float), key
    assert {panel["viewType"] for panel in panels(spec)} == {
        "Bar Chart",
        "Media Browser",
        "Parallel Coordinates Plot",
        "Run History Line Plot",
    }
    (only,) = spec["spec"]["section"]["runSets"][0]["filters"]["filters"]
    assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "mine")


def test_the_axes_say_what_was_run(logged):
    assert logged["config"]["infiller"] == "mean"  # as the sweep locked it, without its settings
    axes = {k.removeprefix("axis/"): v for k, v in logged["config"].items() if "axis/" in k}
    assert axes == {
        "method": "fido ssr mean",
        "infiller": "mean",
        "objective": "ssr",
        "sparsity": 0.0001,
    }


def values_of(options):
    return options["values"] if "values" in options else [options["min"], options["max"]]


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("*.yaml")))
def test_every_value_of_a_sweep_composes_and_its_metric_is_logged(name, logged):
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = yaml.safe_load((SWEEPS / f"{name}.yaml").read_text())
    fixed = [word for word in sweep["command"] if not word.startswith(("${", "hydra."))]
    longest = max(len(values_of(options)) for options in sweep["parameters"].values())
    for i in range(longest):
        chosen = {
            key: {"value": values_of(options)[i % len(values_of(options))]}
            for key, options in sweep["parameters"].items()
        }
        words = create_sweep_command_args({"args": chosen})["args_no_hyphens"]
        cfg = explain_config(*words, *fixed)
        for key, value in chosen.items():
            if "." in key:  # others choose an option of a group
                assert OmegaConf.select(cfg, key) == value["value"]
        assert cfg.explainer._target_
    kind, *rest = sweep["metric"]["name"].split("/")
    assert kind == "mean" or rest[0] in cfg.metrics
    assert isinstance(logged["summary"][sweep["metric"]["name"]], int | float)


def test_without_a_key_one_line_says_what_to_do(tmp_path):
    done = dashboard(tmp_path, "entity=me")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "wandb login" in line
    assert "save=false" in line
    assert not list(tmp_path.rglob("dashboard.json"))


class GraphQL(BaseHTTPRequestHandler):
    """As much of a W&B server as saving a view asks for."""

    saved: ClassVar[list[dict]] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        answer = {"data": {"viewer": {"id": "1", "entity": "me", "teams": {"edges": []}}}}
        if "upsertView" in body["query"]:
            self.saved.append(body["variables"])
            answer = {"data": {"upsertView": {"view": {"id": "1", "name": "nw-abc-v"}}}}
            if body["variables"]["projectName"] == "missing":
                answer = {"errors": [{"message": "project not found"}]}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), GraphQL)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}",
        "WANDB_API_KEY": "k" * 40,
        "WANDB_ERROR_REPORTING": "false",
    }
    server.shutdown()


def test_the_view_is_saved_and_its_address_printed(tmp_path, server):
    done = dashboard(tmp_path, "entity=me", "project=mine", "name=view", **server)
    assert done.returncode == 0, done.stderr
    assert f"dashboard: {server['WANDB_BASE_URL']}/me/mine?nw=abc" in done.stdout
    saved = GraphQL.saved[-1]
    assert (saved["entityName"], saved["projectName"], saved["displayName"]) == (
        "me",
        "mine",
        "view",
    )
    written = json.loads((tmp_path / "outputs" / "dashboard" / "dashboard.json").read_text())
    assert json.loads(saved["spec"]) == written["spec"]

    refused = dashboard(tmp_path, "entity=me", "project=missing", **server)
    assert refused.returncode == 1
    assert "project not found" in refused.stderr
    assert "Traceback" not in refused.stderr
