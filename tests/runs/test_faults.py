"""Full disks, missing rights, no file handles, clocks that go back: words, and nothing is lost."""

import os
import resource
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress

import pytest
import torch
from planted import planted_classifier, planted_sample, write_photo

from fido.data.folder import FolderPhotos
from fido.explainers.baselines import Center
from fido.infillers.mean import MeanInfiller
from fido.records import Explanation, Key
from fido.runs.runner import Runner
from fido.runs.store import ResultsStore

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")


def save(store, image_id, value=0.5):
    saliency = torch.full((1, 40, 48), value)
    row = {"id": image_id, "status": "explained", "target": 1, "seed": 0}
    return store.save(planted_sample(image_id=image_id), Explanation(image_id, 1, saliency), row)


@contextmanager
def limited(what, soft):
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


def visible(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_full_disk_ends_a_run_and_the_next_one_goes_on(tmp_path, size):
    for name in "abc":
        write_photo(tmp_path / "photos" / f"{name}.png")
    classifier = planted_classifier()

    def run():
        source = FolderPhotos(path=str(tmp_path / "photos"), size=(40, 48), crop_fraction=1.0)
        store = ResultsStore(tmp_path / "run")
        return Runner(classifier, MeanInfiller(), Center(), store).run(source)

    with (
        limited(resource.RLIMIT_FSIZE, size),
        pytest.raises(OSError, match=r"File too large|cannot write"),
    ):
        run()
    assert not list((tmp_path / "run").rglob("*.tmp*"))
    for path in (tmp_path / "run").rglob("*.safetensors"):
        assert ResultsStore(tmp_path / "run").load(path.stem.partition(".")[0])
    assert run()["images"] == {"explained": 3}
    assert not (tmp_path / "run" / "damaged").exists()


@pytest.fixture
def disk(tmp_path):
    """A function that gives a small file system these options."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        line = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if subprocess.run(line, check=False, capture_output=True).returncode:
            pytest.skip("file systems can be mounted by root alone")
        return place

    yield mount
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")
@pytest.mark.parametrize("options", ["size=64k", "size=200k", "nr_inodes=6", "nr_inodes=9"])
def test_a_file_system_that_is_full_ends_a_run_and_the_next_one_goes_on(tmp_path, disk, options):
    place, classifier = disk(options), planted_classifier()
    for name in "abcdefgh":
        write_photo(tmp_path / "photos" / f"{name}.png")

    def run():
        source = FolderPhotos(path=str(tmp_path / "photos"), size=(40, 48), crop_fraction=1.0)
        return Runner(classifier, MeanInfiller(), Center(), ResultsStore(place / "run")).run(source)

    with pytest.raises(OSError, match=r"No space left on device|cannot write"):
        run()
    assert not list(place.rglob("*.tmp*"))
    whole = {path: path.read_bytes() for path in place.rglob("*.safetensors")}
    assert len(whole) < 8
    disk("remount,size=20m,nr_inodes=100")
    assert run()["images"] == {"explained": 8}
    assert all(path.read_bytes() == content for path, content in whole.items())
    assert not (place / "run" / "damaged").exists()
    disk("remount,ro")
    with pytest.raises(OSError, match="Read-only file system"):
        ResultsStore(place / "new", {"seed": 0})
    assert len(ResultsStore(place / "run")) == 8  # what is there can be read


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    if not os.path.isdir("/sys"):
        pytest.skip("a read-only place that even root cannot write")
    with pytest.raises(OSError, match="/sys/fido"):
        ResultsStore("/sys/fido", {"seed": 0})


@contextmanager
def no_file_handles():
    """The limit is one on numbers: those that earlier tests have left free are taken, too."""
    highest = max(int(number) for number in os.listdir("/proc/self/fd"))
    with ExitStack() as taken, limited(resource.RLIMIT_NOFILE, highest + 1):
        with suppress(OSError):
            while True:
                taken.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the handles in /proc")
def test_without_file_handles_no_file_is_taken_for_damaged(tmp_path):
    store = ResultsStore(tmp_path)
    for name in "ab":
        save(store, name)
    other = ResultsStore(tmp_path)
    with no_file_handles():
        for attempt in (other.set_aside_damaged, lambda: store.load("a"), lambda: list(other)):
            with pytest.raises(OSError, match="Too many open files"):
                attempt()
    assert visible(tmp_path) == ["a.class1.seed0.safetensors", "b.class1.seed0.safetensors"]
    assert len(other) == 2


def test_a_clock_that_goes_back_hides_no_result(tmp_path):
    store = ResultsStore(tmp_path)
    path = save(store, "a", 0.25)
    assert len(store) == 1
    before = path.stat().st_mtime_ns
    save(store, "a", 0.75)
    os.utime(path, ns=(0, before - 10**12))
    assert store.row("a")["id"] == "a"
    assert float(store.load(Key("a", 1, 0)).saliency.mean()) == 0.75
    os.utime(save(store, "b"), ns=(0, 0))  # 1970
    assert [key.image_id for key in store] == ["a", "b"]


def test_what_a_killed_process_leaves_is_seen_by_nobody(tmp_path):
    store = ResultsStore(tmp_path)
    path = save(store, "a")
    for name in (".a.0123456789ab.tmp.safetensors", ".b.class1.seed0.0123.tmp.safetensors"):
        (path.parent / name).write_bytes(path.read_bytes()[:50])
    assert [key.image_id for key in ResultsStore(tmp_path)] == ["a"]
    assert ResultsStore(tmp_path).set_aside_damaged() == []
