"""Every leaf, method and experiment of an evaluation composes."""

import re

import pytest
import torch
from analytic import share_classifier
from configurations import CONF, command_config
from hydra.types import RunMode
from omegaconf import OmegaConf
from planted import planted_sample
from torch import Tensor

from fido.app.instantiate import build
from fido.app.metrics import MetricBuilder
from fido.metrics.base import ImageMetric


def leaves(group):
    return sorted(p.stem for p in (CONF / group).glob("[!_]*.yaml"))


def config(root, *overrides, **options):
    return command_config(root, "output_dir=out", *overrides, **options)


@pytest.mark.parametrize("leaf", leaves("metrics"))
def test_every_metric_builds_and_describes_itself(leaf):
    cfg = config("evaluate", f"metrics=[{leaf}]")
    classifier = share_classifier((0, 0, 64, 64), (64, 64))
    metrics, settings = MetricBuilder(cfg, torch.device("cpu"), classifier)()
    (metric,) = metrics.values()
    assert isinstance(metric, ImageMetric)
    assert list(metrics) == [leaf], "a leaf's package must be metrics.<its name>"
    assert "rows_per_pass" not in settings[leaf]
    if "classifier" in cfg.metrics[leaf]:
        assert settings[leaf]["classifier"]["_target_"].startswith("fido.classifiers")
    names = [column.name for column in metric.columns]
    assert len(set(names)) == len(names)
    assert metric.series is None or set(metric.series.x) <= set(names)
    assert metric.higher_is_better in (True, False)
    best = {True: "higher", False: "lower"}[metric.higher_is_better]
    assert metric.columns[0].better == best


def test_a_metric_gets_an_infiller_of_its_own():
    line = ["metrics=[deletion,removal_curve]", "infiller@metrics.deletion.infiller=local"]
    cfg = config("evaluate", *line)
    assert cfg.metrics.deletion.infiller._target_.endswith("LocalInfiller")
    assert cfg.metrics.removal_curve.infiller._target_.endswith("BlurInfiller")


@pytest.mark.parametrize("root", ["explain", "evaluate"])
def test_every_setting_of_a_plain_command_has_a_value(root):
    plain = OmegaConf.to_container(config(root), resolve=True)
    assert plain["logger"]["project"] == "fido"


@pytest.mark.parametrize("experiment", leaves("evaluate/experiment"))
def test_every_experiment_of_evaluate_composes(experiment):
    text = (CONF / "evaluate" / "experiment" / f"{experiment}.yaml").read_text()
    assert f"python evaluate.py experiment={experiment}" in text
    cfg = config("evaluate", f"experiment={experiment}", "data=boxes", "data.root=x")
    MetricBuilder(cfg, torch.device("cpu"), share_classifier((0, 0, 64, 64), (224, 224)))()
    assert cfg.evaluation.compare_to in ("input", *cfg.infillers)


@pytest.mark.parametrize("experiment", leaves("explain/experiment"))
def test_every_experiment_of_explain_is_a_sweep_of_what_there_is(experiment):
    text = (CONF / "explain" / "experiment" / f"{experiment}.yaml").read_text()
    cfg = config("explain", f"experiment={experiment}", return_hydra_config=True)
    if experiment == "paper":
        assert cfg.hydra.mode is None
        return
    assert cfg.hydra.mode == RunMode.MULTIRUN
    assert f"python explain.py experiment={experiment}" in text
    assert cfg.evaluation.name in ("evaluation", experiment)
    params = OmegaConf.to_container(cfg.hydra.sweeper.params)
    # Callbacks read it before Hydra has set the configuration that ${hydra:...} looks into.
    assert cfg.hydra.sweep.dir.startswith("outputs/")
    assert "score_sweep" in cfg.hydra.callbacks
    for preset in params.get("preset", "").split(","):
        assert not preset or preset in leaves("explain/preset"), preset
    values = {name: str(listed).split(",") for name, listed in params.items()}
    for i in range(max(map(len, values.values()))):
        job = [f"{name}={listed[i % len(listed)]}" for name, listed in values.items()]
        assert config("explain", f"experiment={experiment}", *job).explainer._target_, job
    across = cfg.evaluation.group_by
    assert across is None or across in params


@pytest.mark.parametrize("method", leaves("explain/preset"))
def test_every_method_is_an_explainer_with_its_infiller(method):
    cfg = config("explain", f"preset={method}")
    assert cfg.explainer._target_
    if "_g" in method or method == "fido_ca":
        assert cfg.infiller._target_.endswith("ContextualAttentionInfiller")


def test_every_experiment_is_in_the_table_of_artefacts():
    table = (CONF.parent / "docs" / "experiments.md").read_text()
    experiments = {*leaves("explain/experiment"), *leaves("evaluate/experiment")}
    missing = [name for name in experiments if not re.search(rf"\b{name}\b", table)]
    assert not missing
    assert set(re.findall(r"experiment=(\w+)", table)) <= experiments
    drawn = set(re.findall(r"mask_distributions@figures.mask_distributions=(\w+)", table))
    assert drawn == {"agarwal2020_fig1", "object", "object_segmented"}
    for name in drawn - {"object_segmented"}:  # which needs weights
        group = f"mask_distributions@figures.mask_distributions={name}"
        line = ["experiment=infillers", group, "data.root=x"]
        for node in config("evaluate", *line).figures.mask_distributions.values():
            assert isinstance(
                build(node).sample(1, (40, 48), torch.Generator(), planted_sample()), Tensor
            )
