"""`fido.explain` and `fido.load_image`: what a user calls from Python."""

import doctest
import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from configurations import CONF, explain_config
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from planted import PLANTED, BoxBrightness, box_region, iou, planted_classifier, planted_sample
from planted import write_photo as write_planted_photo
from small_networks import Curved
from torch import nn

import fido
from fido.app.explain import execute
from fido.infillers.mean import MeanInfiller
from fido.runs.store import ResultsStore

PLAIN = {"mean": (0, 0, 0), "std": (1, 1, 1), "class_names": ["dark", "bright"]}
QUICK = {"infiller": "mean", "steps": 3, "samples": 2}


@pytest.mark.parametrize("module", ["fido", "fido.app.api", "fido.data.image"])
def test_examples_in_docstrings(module):
    failed, attempted = doctest.testmod(importlib.import_module(module))
    assert attempted >= 4
    assert failed == 0


def test_importing_fido_imports_no_library():
    code = "import sys, fido; print([n for n in ('torch', 'hydra', 'numpy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in fido.__all__:
        assert getattr(fido, name).__name__ == name
        assert name in dir(fido)
    with pytest.raises(AttributeError, match="nothing"):
        _ = fido.nothing


def test_a_counterfactual_from_python_is_taken_for_the_other_class():
    sample = planted_sample()
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1), "method": "pgd", "epsilon": 0.5}
    changed = fido.explain(BoxBrightness(), sample.image, "second", **plain)
    assert changed.failure is None
    image = changed.counterfactual[None].float() / 255
    assert int(BoxBrightness()(image).argmax()) == changed.target
    without_target = fido.explain(BoxBrightness(), sample.image, **plain)
    assert "needs another class" in without_target.failure


@pytest.mark.parametrize("objective", ["ssr", "sdr"])
def test_planted_evidence_is_found_in_any_module(objective):
    sample = planted_sample()
    explanation = fido.explain(
        BoxBrightness(),
        sample.image,
        "bright",
        objective=objective,
        infiller=MeanInfiller((0.2, 0.2, 0.2)),
        sparsity=0.02,
        steps=80,
        grid=(10, 12),
        **PLAIN,
    )
    assert explanation.target == 1
    assert explanation.failure is None
    assert iou(explanation.region, box_region()) > 0.8


def test_the_map_is_that_of_explain_py(tmp_path):
    write_planted_photo(tmp_path / "photo.png")
    cfg = explain_config(
        *PLANTED,
        "data=folder",
        f"data.path={tmp_path / 'photo.png'}",
        "logger=none",
        "infiller=random",
        "objective=sdr",
        "explainer.steps=5",
        "explainer.samples=3",
        "seed=4",
        f"output_dir={tmp_path / 'run'}",
        "sweep_name=null",
    )
    choices = {"objective": "sdr", "infiller": "random", "explainer": "fido"}
    execute(cfg, choices)
    (key,) = store = ResultsStore(tmp_path / "run")
    explanation = fido.explain(
        BoxBrightness(),
        tmp_path / "photo.png",
        size=(40, 48),
        infiller="random",
        objective="sdr",
        steps=5,
        samples=3,
        seed=4,
        **PLAIN,
    )
    assert explanation.key == key == ("photo", 1, 4)
    assert torch.equal(explanation.saliency, store.load(key).saliency)


def test_a_module_is_left_as_it_was():
    network = nn.Sequential(nn.BatchNorm2d(3), Curved())
    network.train()
    network[1].head.eval()
    network[0].weight.requires_grad_(False)
    network[0].weight.grad = torch.ones(3)
    modes = [module.training for module in network.modules()]
    flags = [parameter.requires_grad for parameter in network.parameters()]
    places = [(p.data_ptr(), p.stride(), p.clone()) for p in network.state_dict().values()]

    def check():
        assert [module.training for module in network.modules()] == modes
        assert [parameter.requires_grad for parameter in network.parameters()] == flags
        assert torch.equal(network[0].weight.grad, torch.ones(3))
        now = network.state_dict().values()
        for (place, stride, value), tensor in zip(places, now, strict=True):
            assert (tensor.data_ptr(), tensor.stride()) == (place, stride)
            assert torch.equal(tensor, value)

    image = planted_sample().image
    for method in ("fido", "grad_cam"):
        fido.explain(network, image, method=method, **(QUICK if method == "fido" else {}))
        check()
    with pytest.raises(ValueError, match="class index"):
        fido.explain(network, image, 7, **QUICK)
    check()


def test_a_call_does_not_depend_on_the_modes_of_the_module():
    image = planted_sample().image
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), Curved())
    maps = []
    for training in (True, False):
        network.train(training)
        with torch.no_grad():  # nor on the caller's
            maps.append(fido.explain(network, image, method="gradient").saliency)
    assert torch.equal(*maps)


def test_targets():
    image, network = planted_sample().image, BoxBrightness()

    def target(of, **more):
        return fido.explain(network, image, of, method="gradient", **{**PLAIN, **more}).target

    assert target(None) == target("bright") == target(1) == 1
    assert target("second") == target("dark") == target(0) == 0
    assert target("class 1", class_names=None) == 1
    with pytest.raises(ValueError, match="nearest names: bright"):
        target("brigt")
    with pytest.raises(ValueError, match="has no label"):
        target("label")


def test_an_image_in_any_form_gives_the_same_map(tmp_path):
    write_planted_photo(tmp_path / "image.png")  # the name stands for the random numbers
    photo = Image.open(tmp_path / "image.png")
    pixels = np.asarray(photo)
    forms = [
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
        photo,
        photo.convert("RGBA"),
        pixels,
        pixels[None],
        np.flip(np.flip(pixels, 1).copy(), 1),  # negative strides
        np.float64(pixels) / 255,
        torch.from_numpy(pixels.copy()).permute(2, 0, 1),
        torch.from_numpy(pixels.copy()).permute(2, 0, 1).float()[None] / 255,
    ]
    maps = [
        fido.explain(BoxBrightness(), form, size=(40, 48), **QUICK, **PLAIN).saliency
        for form in forms
    ]
    for saliency in maps[1:]:
        assert torch.equal(saliency, maps[0])


def test_photos_are_cut_as_a_classifiers_preprocessing_does():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), np.uint8))
    classifier = planted_classifier()
    assert classifier.crop_fraction == 0.875
    whole = fido.load_image(photo, size=classifier.size)
    cropped = fido.load_image(photo, size=classifier.size, crop_fraction=0.875)
    maps = [
        fido.explain(classifier, image, method="gradient").saliency for image in (photo, cropped)
    ]
    assert torch.equal(*maps)
    assert not torch.equal(whole, cropped)


GOOD = torch.rand(3, 40, 48, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(2, 3, 40, 48), "batch of 2; call once for every image"),
        (torch.rand(40, 48), r"must be RGB.*got shape \(40, 48\)"),
        (torch.rand(4, 40, 48), "must be RGB"),
        (torch.rand(3, 40, 3), "may be"),
        (GOOD * 255, "divide 0 to 255 by 255"),
        (GOOD - 0.5, "the classifier does"),
        (GOOD * torch.nan, r"must lie in \[0, 1\]"),
        (GOOD.long(), "uint8"),
        (torch.rand(3, 0, 48), "no pixels"),
        (torch.rand(3, 30, 30), r"fido\.load_image\(image, size=\(40, 48\)\)"),
    ],
)
def test_pixels_that_do_not_fit_are_refused_with_advice(image, message):
    with pytest.raises(ValueError, match=message):
        fido.explain(planted_classifier(), image, method="gradient")


def test_what_is_not_an_image_is_refused():
    with pytest.raises(TypeError, match="got list"):
        fido.load_image([[0.0]])
    with pytest.raises(ValueError, match="no image file"):
        fido.load_image("nowhere.png")


def test_photos_need_the_size_of_a_plain_module():
    with pytest.raises(ValueError, match="give size=224"):
        fido.explain(BoxBrightness(), Image.new("RGB", (60, 50)), method="gradient")


def test_names_and_settings_that_do_not_exist_are_named():
    def explain(**settings):
        return fido.explain(planted_classifier(), GOOD, **settings)

    with pytest.raises(ValueError, match=r"method='fdio'.*bbmp.*fido"):
        explain(method="fdio")
    with pytest.raises(ValueError, match=r"infiller='grey'.*blur.*mean"):
        explain(infiller="grey")
    with pytest.raises(ValueError, match=r"objective='neither'.*both, sdr, ssr"):
        explain(objective="neither")
    with pytest.raises(ValueError, match=r"no setting 'step'; it has .*steps.*sparsity.*grid"):
        explain(step=3)
    with pytest.raises(ValueError, match="no setting 'sparsity'"):
        explain(method="gradient", sparsity=1e-3)
    with pytest.raises(ValueError, match=r"explainer\.steps"):
        explain(infiller="mean", steps=0)
    with pytest.raises(ValueError, match="mean: a fido Classifier has its own"):
        explain(mean=(0, 0, 0))


def test_progress_is_told():
    heard = []
    fido.explain(
        planted_classifier(), GOOD, image_id="mine", progress=lambda *n: heard.append(n), **QUICK
    )
    assert [(ids, done, total) for ids, done, total, _ in heard] == [
        (["mine"], step, 3) for step in (1, 2, 3)
    ]


def test_it_works_inside_of_another_hydra_application():
    fido.explain(planted_classifier(), GOOD, method="gradient")
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        fido.explain(planted_classifier(), GOOD, method="gradient")
        assert compose("explain", ["seed=3"]).seed == 3
