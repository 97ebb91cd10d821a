import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import warm_process
from command_line import environment
from configurations import command_config
from PIL import Image
from safetensors.torch import load_file
from small_training import StopAt, Stopped, fit
from torch import nn

from fido.app.train import check_training
from fido.classifiers.natural10 import small_resnet, small_vit
from fido.data.folder import FolderPhotos
from fido.runs.run_settings import SettingsMismatchError
from fido.training.augmentation import CutMix, RandomViews, jitter_colours
from fido.training.classifier import ClassifierTraining
from fido.training.labelled_photos import LabelledPhotos
from fido.training.photo_labels import photo_labels

ROOT = Path(__file__).resolve().parents[2]
TINY = {
    "resnet": partial(small_resnet, layers=(1, 1, 1, 1), channels=(8, 8, 16, 16)),
    "vit": partial(small_vit, size=32, stem=(8, 8, 8), dim=16, depth=2, heads=2),
}


def write_photos(folder, each=12, classes=("lying", "standing"), flat=False):
    """Noise with bright bars that lie or stand, in a folder a class or with prefixes."""
    draw = np.random.default_rng(0)
    for name in classes:
        for index in range(each):
            pixels = draw.uniform(0, 90, (32, 32, 3))
            bars = pixels if name == "lying" else pixels.transpose(1, 0, 2)
            bars[draw.integers(0, 8) :: 8] += 150
            path = folder / (f"{name}_{index}.png" if flat else f"{name}/{index}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)
    return folder


def labelled(folder, cache, labels="folder", **options):
    given = {"views": RandomViews(32, area=(0.6, 1.0)), "batch_size": 8, "image_size": 32}
    source = FolderPhotos(path=str(folder), size=(32, 32))
    return LabelledPhotos(source, labels=labels, cache=cache, **(given | options))


def module(photos, steps, network="resnet", **options):
    torch.manual_seed(0)
    given = {"warmup": 3, "ema_decay": 0.9, "learning_rate": 5e-3, "mixing": CutMix()}
    return ClassifierTraining(
        network=TINY[network], steps=steps, **photos.inputs(), **(given | options)
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bars")
    return labelled(write_photos(folder / "photos", each=40), folder / "cache", held_out=20)


@pytest.mark.parametrize("network", list(TINY))
def test_it_learns_which_way_the_bars_run(tmp_path, photos, network):
    steps = {"resnet": 40, "vit": 150}[network]
    trained = module(photos, steps, network)
    before = trained.evaluate()
    after = fit(tmp_path, trained, steps).evaluate()
    assert before["accuracy"] < 0.8
    assert after["accuracy"] >= 0.95
    assert after["loss"] < 0.75 * before["loss"]


@pytest.mark.parametrize("network", list(TINY))
def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path, photos, network):
    whole = fit(tmp_path / "whole", module(photos, 10, network), 10)
    with pytest.raises((Stopped, SystemExit)):
        fit(tmp_path / "parts", module(photos, 10, network), 10, StopAt(5))
    torch.rand(7)  # the global generator is elsewhere, as in a new process
    resumed = fit(tmp_path / "parts", module(photos, 10, network), 10)
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key
    exported = load_file(tmp_path / "parts" / "ema.safetensors")
    assert all(torch.equal(value, exported[key]) for key, value in whole.ema.state_dict().items())


def test_the_average_follows_the_statistics_of_batch_normalisation(tmp_path, photos):
    trained = fit(tmp_path, module(photos, 6, ema_decay=0.5), 6)
    newest, average = trained.network.bn1, trained.ema.bn1
    assert average.num_batches_tracked == newest.num_batches_tracked == 6
    distance = (average.running_mean - newest.running_mean).norm()
    assert 0 < distance < 0.5 * newest.running_mean.norm()


def test_calibration_and_loss_are_those_of_known_logits(photos):
    class Sure(nn.Module):
        """Says class 0 with probability .8, whatever it sees."""

        def __init__(self, num_classes):
            super().__init__()
            self.logits = nn.Parameter(torch.tensor([0.8, 0.2]).log())

        def forward(self, x):
            return self.logits.expand(len(x), 2)

    torch.manual_seed(0)
    values = ClassifierTraining(network=Sure, steps=1, **photos.inputs()).evaluate()
    share = float((photos.validation()[1] == 0).float().mean())
    assert values["accuracy"] == pytest.approx(share)
    assert values["calibration_error"] == pytest.approx(abs(0.8 - share), abs=1e-5)
    expected = -(share * np.log(0.8) + (1 - share) * np.log(0.2))
    assert values["loss"] == pytest.approx(expected, abs=1e-5)


def test_the_loss_is_smoothed_cross_entropy_of_the_batch(photos):
    trained = module(photos, 10, mixing=None, label_smoothing=0.2)
    trained.log = lambda *args, **kwargs: None
    loss = trained.training_step(None, 0)
    images, labels = photos.batch(0)
    log_p = trained.network(trained.normalised(images)).log_softmax(1)
    own = log_p[torch.arange(8), labels]
    torch.testing.assert_close(loss, -(0.8 * own + 0.2 * log_p.mean(1)).mean())


def test_timm_networks_get_an_output_a_class_and_others_are_refused(photos):
    create = partial(timm.create_model, "mobilenetv3_small_050")
    assert module(photos, 1).ema.num_classes == 2
    trained = ClassifierTraining(network=create, steps=1, **photos.inputs())
    assert trained.network.num_classes == 2
    with pytest.raises(ValueError, match=r"returns \(1, 5\).*expected.*\(1, 2\)"):
        ClassifierTraining(
            network=lambda num_classes: create(num_classes=5), steps=1, **photos.inputs()
        )


def test_labels_come_from_folders_prefixes_or_a_table(tmp_path):
    by_folder = labelled(write_photos(tmp_path / "folders", each=3), tmp_path / "cache")
    by_prefix = labelled(write_photos(tmp_path / "flat", each=3, flat=True), tmp_path, "prefix")
    assert by_folder.classes == by_prefix.classes == ["lying", "standing"]
    assert by_prefix.labels.tolist() == by_folder.labels.tolist() == [0, 0, 0, 1, 1, 1]
    table = tmp_path / "labels.csv"
    table.write_text(
        "file,label\nlying_0.png,a\nlying_1.png,b\nstanding_0.png,b\nstanding_1.png,c\n"
    )
    by_table = labelled(tmp_path / "flat", tmp_path, str(table), classes=["b", "a"], held_out=0)
    assert by_table.names == ["lying_0.png", "lying_1.png", "standing_0.png"]
    assert by_table.labels.tolist() == [1, 0, 0]
    with pytest.raises(FileNotFoundError, match="no such file"):
        photo_labels([], "missing.csv")
    with pytest.raises(ValueError, match="prefix"):
        photo_labels([], "suffix")
    table.write_text("name,class\n")
    with pytest.raises(ValueError, match="no column 'file', expected file, label"):
        photo_labels([], str(table))


def test_one_class_is_refused_in_words(tmp_path):
    write_photos(tmp_path / "one", classes=("lying",))
    with pytest.raises(ValueError, match=r"two classes or more.*finds 1 \(lying\).*prefix"):
        labelled(tmp_path / "one", tmp_path / "cache")
    write_photos(tmp_path / "two")
    with pytest.raises(ValueError, match=r"no photo of class 'leaning'; found: lying, standing"):
        labelled(tmp_path / "two", tmp_path / "cache", classes=["lying", "leaning"])
    with pytest.raises(ValueError, match="twice"):
        labelled(tmp_path / "two", tmp_path / "cache", classes=["lying", "lying"])
    write_photos(tmp_path / "few", each=1)
    with pytest.raises(ValueError, match="left to train on"):
        labelled(tmp_path / "few", tmp_path / "cache", held_out=1)


def test_no_held_out_photo_is_trained_on_and_every_epoch_shows_the_others_once(tmp_path, photos):
    shown = [photos.names[i] for i in photos.training]
    held_out = [photos.names[i] for i in photos.held_out]
    assert len(held_out) == 20
    assert sorted(shown + held_out) == sorted(photos.names)
    whole = RandomViews(32, area=(1.0, 1.0), aspect=1.0, mirror=0.0, colour=0.0)
    source = FolderPhotos(path=str(tmp_path / "photos"), size=(32, 32))
    write_photos(tmp_path / "photos", each=8)
    small = LabelledPhotos(source, "folder", 32, tmp_path, whole, batch_size=6, held_out=4)
    seen = torch.cat([small.batch(step)[0] for step in range(4)]).mean((1, 2, 3))  # two epochs
    own = torch.from_numpy(small.images[small.training]).float().mean((1, 2, 3)) / 255
    for epoch in seen.split(12):
        torch.testing.assert_close(epoch.sort().values, own.sort().values)
    assert not torch.equal(*seen.split(12))
    assert torch.equal(small.batch(3)[0], small.batch(3)[0])
    assert torch.equal(photos.batch(5)[0], photos.batch(5)[0])


def test_a_view_of_the_whole_photo_is_the_photo():
    photo = np.random.default_rng(0).integers(0, 256, (1, 24, 24, 3), dtype=np.uint8)
    same = RandomViews(24, area=(1.0, 1.0), aspect=1.0, mirror=0.0, colour=0.0)
    expected = torch.from_numpy(photo).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(same(photo, np.random.default_rng(0)), expected)
    mirrored = RandomViews(24, area=(1.0, 1.0), aspect=1.0, mirror=1.0, colour=0.0)
    torch.testing.assert_close(mirrored(photo, np.random.default_rng(0)), expected.flip(-1))


def test_crops_have_the_area_and_the_aspect_that_was_asked_for():
    y, x = np.mgrid[:100, :100].astype(np.uint8)
    ramp = np.stack([y, x, x], -1)[None].repeat(200, 0)
    views = RandomViews(50, area=(0.2, 0.5), aspect=2.0, mirror=0.0, colour=0.0)
    seen = views(ramp, np.random.default_rng(0)) * 255
    # Neighbours of a view are h / 50 and w / 50 pixels of the photo apart.
    h = (seen[:, 0, 40, 25] - seen[:, 0, 10, 25]) / 30 * 50
    w = (seen[:, 1, 25, 40] - seen[:, 1, 25, 10]) / 30 * 50
    area, aspect = h * w / 1e4, torch.maximum(h, w) / torch.minimum(h, w)
    assert 0.19 < area.min() < 0.23
    assert 0.46 < area.max() < 0.52
    assert 1.7 < aspect.max() < 2.1
    assert (h > w).float().mean() == pytest.approx(0.5, abs=0.1)


def test_colours_move_as_they_are_told():
    grey = torch.full((1, 3, 4, 4), 0.4)
    image = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.2
    one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    torch.testing.assert_close(jitter_colours(image, one, one, one), image)
    torch.testing.assert_close(jitter_colours(grey, 1.5 * one, one, one), 1.5 * grey)
    without = jitter_colours(image, one, one, none)
    assert torch.allclose(without[:, 0], without[:, 1])
    flat = jitter_colours(image, one, none, none)
    assert flat.std() < 1e-6


def test_cutmix_labels_are_the_shares_of_the_pixels():
    images = torch.zeros(4, 3, 20, 20)
    images[1], images[2], images[3] = 1, 2, 3
    targets = torch.eye(4)
    for seed in range(20):
        mixed, labels = CutMix(probability=1.0)(images, targets, np.random.default_rng(seed))
        torch.testing.assert_close(labels.sum(1), torch.ones(4))
        for row in range(4):
            shares = torch.stack([(mixed[row] == value).float().mean() for value in range(4)])
            torch.testing.assert_close(labels[row], shares)
    unmixed, labels = CutMix(probability=0.0)(images, targets, np.random.default_rng(0))
    assert torch.equal(unmixed, images)
    assert torch.equal(labels, targets)


def test_bad_settings_are_named(photos):
    for make, name in [
        (lambda: RandomViews(32, area=(0.5, 1.5)), "views.area"),
        (lambda: RandomViews(32, aspect=0.5), "views.aspect"),
        (lambda: RandomViews(32, mirror=2.0), "views.mirror"),
        (lambda: RandomViews(32, colour=1.0), "views.colour"),
        (lambda: CutMix(probability=2.0), "mixing.probability"),
        (lambda: CutMix(alpha=0.0), "mixing.alpha"),
        (lambda: module(photos, 1, label_smoothing=1.0), "training.label_smoothing"),
        (lambda: module(photos, 1, mix_until=1.5), "training.mix_until"),
    ]:
        with pytest.raises(ValueError, match=name):
            make()


def command(folder, output, steps, *more):
    return [
        *(sys.executable, "train.py", "model=classifier", "data=folder"),
        *(f"data.path={folder}", f"output_dir={output}"),
        *(f"least_steps={steps}", "least_epoch=50", "epochs=0", "threads=1", "logger=csv"),
        *("trainer.accelerator=cpu", "photos.image_size=32", "photos.views.side=32"),
        *("photos.batch_size=8", "network.layers=[1,1,1,1]", "network.channels=[8,8,16,16]"),
        *("training.warmup=3", *more),
    ]


def test_the_command_writes_weights_that_the_classifier_takes(tmp_path):
    write_photos(tmp_path / "photos")
    out = tmp_path / "out"
    line = command(tmp_path / "photos", out, 20)
    done = warm_process.run(line, ROOT, os.environ, anew=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "classes.json").read_text()) == ["lying", "standing"]
    network = TINY["resnet"](num_classes=2)
    network.load_state_dict(load_file(out / "ema.safetensors"))
    columns = (out / "curves/version_0/metrics.csv").read_text().splitlines()[0].split(",")
    assert set(columns) >= {"train/loss", "val/accuracy", "val/calibration_error", "val/loss"}
    one = write_photos(tmp_path / "one", classes=("lying",))
    refused = warm_process.run(command(one, out, 20), ROOT, environment())
    assert refused.returncode != 0
    assert "two classes or more" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_training_goes_on_with_its_own_settings_and_classes_only(tmp_path):
    out = tmp_path / "out"

    def begin(*overrides, classes=("cat", "dog")):
        words = ("model=classifier", "data=folder", "data.path=a", f"output_dir={out}", *overrides)
        check_training(command_config("train", *words), SimpleNamespace(classes=classes))

    begin()
    begin("seed=1")  # nothing has been trained yet
    begin()
    (out / "last.ckpt").touch()
    noted = (out / "training.json").read_bytes()
    begin("epochs=99", "trainer.precision=bf16-mixed", "logger=none", "photos.cache=elsewhere")
    for other, words in (
        (["data.path=b"], "data.path: a there, b now"),
        (["seed=1"], "seed: 0 there, 1 now"),
        (["training.learning_rate=1"], "training.learning_rate"),
        (["photos.labels=prefix"], "photos.labels: folder there, prefix now"),
    ):
        with pytest.raises(SettingsMismatchError, match=words):
            begin(*other)
    with pytest.raises(SettingsMismatchError, match="classes"):
        begin(classes=("dog", "cat"))
    assert (out / "training.json").read_bytes() == noted


@pytest.mark.slow
def test_the_command_killed_and_started_again_ends_with_the_same_weights(tmp_path):
    folder = write_photos(tmp_path / "photos")
    subprocess.run(command(folder, tmp_path / "whole", 300), cwd=ROOT, check=True)
    often = "checkpoint_seconds=0.2"
    first = subprocess.Popen(command(folder, tmp_path / "parts", 300, often), cwd=ROOT)
    while not (tmp_path / "parts" / "last.ckpt").exists():
        assert first.poll() is None, "the training ended before it could be killed"
        time.sleep(0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.wait(timeout=60)
    reached = torch.load(tmp_path / "parts" / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < reached < 300
    subprocess.run(command(folder, tmp_path / "parts", 300, often), cwd=ROOT, check=True)
    whole, parts = (load_file(tmp_path / x / "ema.safetensors") for x in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
