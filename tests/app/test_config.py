"""The folder of config files is the registry: every leaf composes and builds."""

from itertools import zip_longest
from pathlib import Path

import pytest
import torch
from configurations import CONF, command_config, explain_config
from omegaconf import OmegaConf
from planted import planted_classifier, planted_sample

from fido.app.help import groups_of, options_of, read_header
from fido.app.instantiate import build, logged_settings, settings_of
from fido.infillers.base import Infiller
from fido.infillers.mean import MeanInfiller
from fido.masks.objectives import Objective
from fido.runs.runner import Runner
from fido.runs.store import ResultsStore

# What needs a file or a network that a fresh machine does not have, and what the error must name.
BRING_YOUR_OWN = {
    "classifier/torchvision": "resnet50-",
    "classifier/resnet50": "resnet50-0676ba61.pth",
    "classifier/alexnet": "alexnet-owt-7be5be79.pth",
    "classifier/vgg16": "vgg16-397923af.pth",
    "classifier/places365_resnet50": "resnet50_places365.pth.tar",
    "infiller/deepfill": "snap-0.data-00000-of-00001",
    "infiller/lama": "big-lama.pt",
    "infiller/diffusers": "model_index.json",
}
NEEDS_ARGUMENTS = {
    "explainer/hand_mask": ["mask.file=tests/fixtures/hand_mask.png"],
    **{
        f"explainer/{method}": ["denoiser@explainer.denoiser=squares"]
        for method in ("ace", "dime", "dvce", "dvce_paper", "fast_dime", "mask_dime", "no_guidance")
    },
    "classifier/black_box": ["classifier.function._target_=planted.brightness_function"],
    "classifier/custom": ["classifier.network._target_=planted.BoxBrightness"],
    "classifier/timm": ["classifier.weights=null"],
    "classifier/huggingface": None,  # test_classifiers.py builds one from a folder
    "data/folder": ["data.path=photos"],
    "data/boxes": ["data.root=photos"],
    "data/class_folders": ["data.root=photos"],
    "data/imagenet": ["data.root=photos", "data.boxes=boxes.csv"],
}


def leaves(group):
    return sorted(p.stem for p in (CONF / group).glob("[!_]*.yaml"))


def every(*groups):
    return [(group, leaf) for group in groups for leaf in leaves(group)]


@pytest.mark.parametrize(
    ("group", "leaf"),
    every("classifier", "infiller", "objective", "explainer", "data", "logger", "executor"),
)
def test_every_leaf_composes_and_builds(group, leaf, monkeypatch, tmp_path):
    name = f"{group}/{leaf}"
    arguments = NEEDS_ARGUMENTS.get(name, [])
    if arguments is None:
        pytest.skip(f"{name} needs a model of the user's")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    config = explain_config(f"{group}={leaf}", *arguments)
    classifier = planted_classifier()
    shared = {
        "classifier": classifier,
        "infiller": MeanInfiller(),
        "progress": None,
        "folder": str(tmp_path),
        "settings": {},
        "class_names": classifier.class_names,
        "size": (40, 48),
        "crop_fraction": 1.0,
        "interpolation": "bilinear",
    }
    if name in BRING_YOUR_OWN:
        with pytest.raises(FileNotFoundError, match=BRING_YOUR_OWN[name]):
            build(config[group], **shared)
        return
    built = build(config[group], **shared)
    if group == "infiller":
        assert isinstance(built, Infiller)
    if group == "objective":
        assert isinstance(built, Objective)
    if group == "explainer":
        assert callable(built.explain)


def offline(*_, **__):
    from urllib.error import URLError

    raise URLError("no network")


COMMANDS = ("explain", "evaluate", "train", "report", "compare", "dashboard")
# Parts of metrics; sweeps of `wandb agent`; parts of explainers.
INNER = ("mask_distributions", "wandb_sweep", "denoiser", "region", "guide", "object_region")


def test_every_option_belongs_to_a_group_of_a_command():
    reached = {
        path for c in COMMANDS for group in groups_of(c) for path in options_of(c, group).values()
    }
    options = {path for path in CONF.rglob("[!_]*.yaml") if path.parent != CONF}
    lost = {path for path in options - reached if path.parent.name not in INNER}
    assert not lost


LISTS = ("metrics", "callbacks")  # groups of which several options are chosen
ALONE = {"hole_masks/validation"}  # chosen as hole_masks@validation_masks
BASES = {
    "model": [],  # has groups of its own
    "loss": ["model=masking_network"],
    "network": ["model=classifier"],
}  # what an option needs beside it


def chosen_together():
    """(command, {group: option}) with each option once: one of every group in a configuration.

    Alone are options that choose others themselves, and those that another must stand beside.
    """
    for command in COMMANDS:
        together = {}
        for group in groups_of(command):
            for option, path in options_of(command, group).items():
                if group in BASES or "override " in path.read_text(encoding="utf-8"):
                    yield command, {group: option}
                elif f"{group}/{option}" not in ALONE:
                    together.setdefault(group, []).append(option)
        for options in zip_longest(*together.values()):
            pairs = zip(together, options, strict=True)
            yield command, {group: option for group, option in pairs if option is not None}


@pytest.mark.parametrize(("command", "options"), [*chosen_together()])
def test_every_option_of_every_command_composes(command, options):
    chosen = [f"{g}=[{o}]" if g in LISTS else f"{g}={o}" for g, o in options.items()]
    bases = [word for group in options for word in BASES.get(group, [])]
    config = command_config(command, *bases, *chosen, return_hydra_config=True)
    for group, option in options.items():
        if group in LISTS:
            assert option in (config.metrics if group == "metrics" else config.hydra.callbacks)
        else:
            assert config.hydra.runtime.choices[group] == option


@pytest.mark.parametrize(
    "path", sorted(CONF.rglob("[!_]*.yaml")), ids=lambda p: str(p.relative_to(CONF))
)
def test_every_option_says_what_it_is_in_a_line(path):
    first = read_header(path).first
    assert first, "the first comment is what --help shows"
    assert len(first) <= 130, first
    assert first[0].isupper() or first.startswith(("log", "p(")), first


@pytest.mark.parametrize("name", [x for x in leaves("train/hole_masks") if x != "validation"])
def test_every_distribution_of_training_masks_drops_and_keeps_some_pixels(name):
    config = command_config("train", f"hole_masks={name}")
    drawn = (
        build(config.training.hole_masks)
        .sample(32, (224, 224), torch.Generator().manual_seed(0))
        .float()
    )
    assert drawn.shape == (32, 1, 224, 224)
    assert drawn.unique().tolist() == [0, 1]
    assert 0.1 < float(drawn.mean()) < 0.9


@pytest.mark.parametrize("experiment", leaves("explain/experiment"))
def test_every_experiment_of_explain_has_settings_that_resolve(experiment):
    config = explain_config(f"experiment={experiment}")
    OmegaConf.to_container(config, resolve=True)
    assert settings_of(config)["explainer"]["_target_"]


@pytest.mark.parametrize("sweep", leaves("explain/sweep"))
def test_every_sweep_names_parameters_that_exist(sweep):
    config = command_config("explain", f"sweep={sweep}", return_hydra_config=True)
    assert config.hydra.mode.name == "MULTIRUN"
    for parameter, values in config.hydra.sweeper.params.items():
        assert OmegaConf.select(config, parameter) is not None, parameter
        assert len(str(values).split(",")) >= 4


@pytest.mark.parametrize("experiment", ["agarwal2020_table3", "agarwal2020_table4"])
def test_the_tables_with_scenes_take_places365(experiment):
    config = explain_config(
        f"experiment={experiment}", "data=places365", "classifier=places365_resnet50", "preset=sp"
    )
    assert config.data._target_.endswith("Places365Validation")
    assert (config.data.resize, config.data.only_correct) == ("squash_crop", True)
    assert config.classifier._target_.endswith("places365_resnet50")


def test_runs_are_compared_by_what_their_explainer_uses():
    choices = {"infiller": "blur", "objective": "ssr"}
    bbmp = logged_settings(explain_config("preset=bbmp_blur"), {**choices, "explainer": "bbmp"})
    assert bbmp["objective"]["sparsity"] != bbmp["explainer"]["objective"]["sparsity"]
    assert bbmp["axis/sparsity"] == bbmp["explainer"]["objective"]["sparsity"]
    rise = logged_settings(explain_config("explainer=rise"), {**choices, "explainer": "rise"})
    assert (rise["axis/method"], rise["axis/sparsity"]) == ("rise blur", None)


def test_experiment_paper_pins_every_published_number():
    config = explain_config("experiment=paper", "data=folder", "data.path=x")
    assert OmegaConf.to_container(config.mask) == {
        "_target_": "fido.masks.concrete.ConcreteMask",
        "_partial_": True,
        "grid": 56,
        "temperature": 0.1,
        "initial_keep_prob": 0.5,
        "unit": "pixel",
        "upsample": "probability",
        "final_map": "logit",
        "align_corners": True,
        "blob_size": 16,  # not used by pixels
        "antithetic": False,
        "grids": None,
    }
    assert (config.objective.score, config.objective.warmup_steps) == ("log_odds", 30)
    assert (config.explainer.steps, config.explainer.samples) == (300, 8)
    assert config.explainer.learning_rate == 0.05
    assert (config.objective.sparsity, config.objective.warmup_steps) == (1e-3, 30)


def test_settings_leave_out_what_does_not_change_a_map():
    one = explain_config("data.limit=1", "logger=none", "batch_size=1")
    other = explain_config("data.limit=5", "logger=csv", "batch_size=4")
    assert settings_of(one) == settings_of(other)
    assert settings_of(one) != settings_of(explain_config("mask.grid=7"))
    assert settings_of(one) != settings_of(explain_config("data.resize=squash"))
    assert settings_of(one) != settings_of(explain_config("precision=bf16"))


def test_a_bf16_run_reaches_the_classifier():
    classifier = build(explain_config("precision=bf16", "classifier.weights=null").classifier)
    assert classifier.precision == "bf16"


def test_build_fills_what_a_leaf_leaves_open_with_the_very_object():
    classifier = planted_classifier()
    explainer = build(
        explain_config().explainer, classifier=classifier, infiller=MeanInfiller(), progress=None
    )
    assert explainer.classifier is classifier


def test_a_new_explainer_runs_without_touching_anything_else(tmp_path):
    """What the runner asks of an explainer is the protocol and nothing more."""
    from fido.records import Explanation

    class Corner:
        def explain(self, samples):
            saliency = torch.zeros(1, 40, 48)
            saliency[:, :10, :10] = 1
            return [Explanation(s.id, s.target, saliency) for s in samples]

    class One:
        only_correct, on_error = False, "stop"

        def selected(self):
            from fido.data.base import Entry

            return [Entry("planted", Path("none"))]

        def load(self, entry):
            return planted_sample()

    runner = Runner(
        planted_classifier(), MeanInfiller(), Corner(), ResultsStore(tmp_path), target=1
    )
    assert runner.run(One())["images"] == {"explained": 1}
    assert ResultsStore(tmp_path).load("planted").region.sum() == 100
