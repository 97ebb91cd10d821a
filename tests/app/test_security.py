"""No file that is given runs code, and no store that is scored."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from PIL import Image
from planted import write_photo
from torch import nn

from fido import weights
from fido.app.evaluate import exclude_guides
from fido.app.metrics import MetricBuilder
from fido.app.trusted import check_trusted
from fido.classifiers.base import Classifier
from fido.classifiers.state import read_state
from fido.data.boxes import BoxedPhotos
from fido.data.photo import UnreadableImageError, open_photo
from fido.evaluation.parts import Part
from fido.evaluation.score_store import ScoreStore
from fido.infillers.lama import LamaInfiller
from fido.metrics.oracles import Oracles
from fido.metrics.subjects import ComparedRows
from fido.records import Key
from fido.runs.store import ResultsStore
from fido.runtime.files import DamagedFileError
from fido.training.checkpoint import TrainingCheckpoint
from fido.training.data import cached_files


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.system, (f"touch '{self.mark}'",)


@pytest.fixture
def mark(tmp_path):
    mark = tmp_path / "executed"
    yield mark
    assert not mark.exists()


def pickled(mark):
    return pickle.dumps(Payload(mark))


def object_array(mark):
    buffer = io.BytesIO()
    np.save(buffer, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def torch_file(mark):
    buffer = io.BytesIO()
    torch.save({"state_dict": {"weight": Payload(mark)}}, buffer)
    return buffer.getvalue()


def archive(mark):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as files:
        files.writestr("arr_0.npy", object_array(mark))
    return buffer.getvalue()


CONTENTS = {"pickle": pickled, "npy": object_array, "torch": torch_file, "npz": archive}


def test_the_payload_works(tmp_path):
    pickle.loads(pickled(tmp_path / "executed"))
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize(
    "suffix", [".pt", ".pth", ".ckpt", ".bin", ".pkl", ".npy", ".npz", ".pth.tar", ".safetensors"]
)
def test_weights_are_tensors_or_refused(tmp_path, mark, content, suffix):
    file = tmp_path / f"net{suffix}"
    file.write_bytes(CONTENTS[content](mark))
    with pytest.raises(ValueError, match="net"):
        read_state(file)
    with pytest.raises(ValueError, match="net"):
        weights.read(file)


@pytest.mark.parametrize("content", CONTENTS)
def test_torchscript_is_loaded_by_its_digest_only(tmp_path, mark, content):
    (tmp_path / "lama.pt").write_bytes(CONTENTS[content](mark))
    with pytest.raises(ValueError, match="was not loaded, because"):
        LamaInfiller(str(tmp_path / "lama.pt"), sha256="0" * 64)
    with pytest.raises(ValueError, match="is not a TorchScript file"):
        LamaInfiller(str(tmp_path / "lama.pt"), sha256=None)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".gif", ".ppm"])
def test_photos_are_images_or_refused(tmp_path, mark, content, suffix):
    (tmp_path / f"p{suffix}").write_bytes(CONTENTS[content](mark))
    with pytest.raises(UnreadableImageError):
        open_photo(tmp_path / f"p{suffix}")


@pytest.mark.parametrize("content", CONTENTS)
def test_files_of_a_store_are_read_as_what_they_are(tmp_path, mark, content):
    bad = CONTENTS[content](mark)
    store = ResultsStore(tmp_path / "run")
    (store.explanations / "a.class1.seed0.safetensors").write_bytes(bad)
    with pytest.raises(DamagedFileError):
        store.load(Key("a", 1, 0))
    for name in ("settings.json", "class_names.json"):
        (tmp_path / "run" / name).write_bytes(bad)
    with pytest.raises(DamagedFileError):
        store.settings()
    with pytest.raises(DamagedFileError):
        store.class_names()
    (tmp_path / "scored").mkdir()
    (tmp_path / "scored" / "a.class1.seed0.json").write_bytes(bad)
    assert ScoreStore(tmp_path / "scored").open(Key("a", 1, 0)).values("m", "r") is None


class Tiny(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def training_step(self, batch, index):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(2, 1))

    val_dataloader = None


@pytest.mark.parametrize("content", [*CONTENTS, "whole"])
def test_a_training_goes_on_from_numbers_only(tmp_path, mark, content):
    options = {"max_steps": 1, "logger": False, "accelerator": "cpu", "barebones": False}
    options |= {"enable_progress_bar": False, "enable_model_summary": False}
    trainer = pl.Trainer(**options, enable_checkpointing=False)
    trainer.fit(Tiny())
    checkpoint = TrainingCheckpoint(tmp_path, export=None)
    if content == "whole":  # a checkpoint in which one callback's state is the payload
        trainer.save_checkpoint(checkpoint.checkpoint)
        state = torch.load(checkpoint.checkpoint, weights_only=True)
        torch.save({**state, "callbacks": {"x": Payload(mark)}}, checkpoint.checkpoint)
    else:
        checkpoint.checkpoint.write_bytes(CONTENTS[content](mark))
    again = pl.Trainer(**{**options, "max_steps": 2}, enable_checkpointing=False)
    with pytest.raises(ValueError, match=r"last\.ckpt"):
        checkpoint.fit(again, Tiny())


@pytest.mark.parametrize("damage", ["tensor", {}, "state_dict", "loops", "layer.weight", "other"])
def test_a_checkpoint_of_something_else_is_named(tmp_path, damage):
    options = {"max_steps": 1, "logger": False, "accelerator": "cpu", "enable_progress_bar": False}
    options |= {"enable_model_summary": False, "enable_checkpointing": False}
    trainer = pl.Trainer(**options)
    trainer.fit(Tiny())
    checkpoint = TrainingCheckpoint(tmp_path, export=None)
    trainer.save_checkpoint(checkpoint.checkpoint)
    state = torch.load(checkpoint.checkpoint, weights_only=True)
    if damage == "tensor":
        state = torch.ones(3)
    elif damage == {}:
        state = {}
    elif damage == "other":
        state["state_dict"]["layer.weight"] = torch.ones(3, 1)
    else:
        (state if damage in state else state["state_dict"]).pop(damage)
    torch.save(state, checkpoint.checkpoint)
    with pytest.raises(ValueError, match=r"last\.ckpt is (no checkpoint|of another network)"):
        checkpoint.fit(pl.Trainer(**{**options, "max_steps": 2}), Tiny())


def test_decoded_photos_are_numbers_only(tmp_path, mark):
    write_photo(tmp_path / "photos" / "a.png")
    files = [tmp_path / "photos" / "a.png"]
    cached_files(files, tmp_path / "photos", 32, tmp_path / "cache")
    (decoded,) = (tmp_path / "cache").glob("*.npy")
    decoded.write_bytes(object_array(mark))
    with pytest.raises(ValueError, match="is damaged"):
        cached_files(files, tmp_path / "photos", 32, tmp_path / "cache")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "a\0b"])
def test_lists_of_files_stay_in_their_folder(tmp_path, name):
    write_photo(tmp_path / "secret.png")
    (tmp_path / "data" / "images").mkdir(parents=True)
    head = "file,class_index,xmin,ymin,xmax,ymax\n"
    (tmp_path / "data" / "boxes.csv").write_text(f"{head}{name},1,0,0,1,1\n")
    with pytest.raises(ValueError, match=r"boxes\.csv, line 2: .*outside"):
        BoxedPhotos(root=str(tmp_path / "data"), size=(40, 48)).entries()


HARMLESS = [
    {"_target_": "fido.classifiers.efficientnet_lite.efficientnet_lite", "variant": 0},
    {
        "_target_": "fido.classifiers.base.Classifier",
        "network": {"_target_": "torchvision.models.resnet18", "num_classes": 2},
    },
    {"_target_": "fido.classifiers.base.Classifier", "network": {"_target_": "torch.nn.Flatten"}},
    {
        "_target_": "fido.classifiers.base.Classifier",
        "network": {"_target_": "timm.create_model", "model_name": "resnet18"},
    },
    {
        "_target_": "fido.classifiers.perceptron.trained_perceptron",
        "source": {"_target_": "fido.data.digits.Digits"},
    },
]
HARMFUL = [
    {"_target_": "os.system", "command": "true"},
    {"_target_": "torch.os.system", "command": "true"},
    {"_target_": "torch.nn.functional.warnings.sys.exit"},
    {"_target_": "torch.load", "f": "x.pt", "weights_only": False},
    {"_target_": "torch.hub.load", "repo_or_dir": "x", "model": "y"},
    {"_target_": "torch.jit.load", "f": "x"},
    {"_target_": "torch.utils.cpp_extension.load", "name": "x", "sources": []},
    {"_target_": "fido.runtime.files.write_text", "path": "x", "text": "y"},
    {"_target_": "fido.infillers.lama.LamaInfiller", "weights": "x", "sha256": None},
    {"_target_": "fido.classifiers.base.torch.load", "f": "x.pt", "weights_only": False},
    {"_target_": "fido.classifiers.base.Path.unlink"},
    {"_target_": "timm.create_model", "model_name": "resnet18", "checkpoint_path": "x.pt"},
    {"_target_": "timm.create_model", "model_name": "hf-hub:somebody/model"},
    {"_target_": "timm.models.load_checkpoint", "checkpoint_path": "x"},
    {"_target_": "builtins.eval"},
    {"_target_": "my_networks.load"},
    {"_target_": "fido.classifiers.base.Classifier", "network": {"_target_": "os.getcwd"}},
    {"_target_": "fido.classifiers.base.Classifier", "list": [{"a": {"_target_": "os.getcwd"}}]},
    {"_target_": "fido.classifiers.base.Classifier", "size": "${oc.env:HOME}"},
    {"_target_": 5},
    {"_target_": ["os.system"]},
]


@pytest.mark.parametrize("settings", HARMLESS)
def test_networks_of_a_store_are_built(settings):
    check_trusted(settings, trust=False)


@pytest.mark.parametrize("settings", HARMFUL, ids=lambda settings: str(settings)[:60])
def test_code_of_a_store_is_not_called_without_asking(settings):
    with pytest.raises(ValueError, match="trust=true"):
        check_trusted(settings, trust=False)
    check_trusted(settings, trust=True)


def test_scoring_a_store_asks_before_it_imports_anything(tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    monkeypatch.syspath_prepend(tmp_path)
    metric = {"_target_": "fido.metrics.deletion.Deletion", "classifier": "???"}
    cfg = OmegaConf.create({"classifier": HARMLESS[0], "metrics": {"m": metric}, "trust": False})
    with pytest.raises(ValueError, match="trust=true"):
        MetricBuilder(cfg, torch.device("cpu"))({"_target_": "evil.Network"})
    assert not (tmp_path / "executed").exists()


def test_the_guide_of_a_store_is_not_built_without_asking(tmp_path, mark):
    guide = {"_target_": "os.system", "command": f"touch '{mark}'"}
    store = ResultsStore(tmp_path, {"explainer": {"guide": {"classifier": guide}}})
    cfg = OmegaConf.create({"classifier": HARMLESS[0], "trust": False})
    builder = MetricBuilder(cfg, torch.device("cpu"))
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    oracles = Oracles(Classifier(network, 2), {"a": Classifier(network, 2)}, "skip")
    part = Part("", {"oracles": oracles}, {}, None, ComparedRows(["run"]))
    with pytest.raises(ValueError, match=r"would call 'os\.system'.*trust=true"):
        exclude_guides([part], {"run": store}, builder.classifier_of)


def test_a_photo_is_no_program(tmp_path):
    """Pillow's EPS reader starts Ghostscript: it is not among what is read."""
    path = Path(tmp_path / "x.png")
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(UnreadableImageError):
        open_photo(path)
    Image.new("RGB", (4, 4)).save(tmp_path / "y.png")
    assert open_photo(tmp_path / "y.png").size == (4, 4)
