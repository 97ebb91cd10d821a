"""Memory does not grow with the number of images."""

import multiprocessing
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest
import torch
from planted import planted_classifier, write_photo

from fido.data.folder import FolderPhotos
from fido.evaluation.evaluation import Evaluation
from fido.evaluation.parts import Part
from fido.evaluation.samples import StoredSamples
from fido.evaluation.scoring_observer import ScoringObserver
from fido.evaluation.stored_explanations import StoredExplanations
from fido.explainers.baselines import RandomMap
from fido.explainers.fido import Fido
from fido.infillers.mean import MeanInfiller
from fido.loggers.terminal import Terminal
from fido.masks.concrete import ConcreteMask
from fido.masks.objectives import SSR
from fido.metrics.localization import Localization
from fido.metrics.subjects import ComparedRows
from fido.report.explanation_figure import FigureObserver
from fido.runs.runner import Runner
from fido.runs.store import ResultsStore
from fido.runtime.memory import keep_freed_memory

IMAGES = 2000
KILOBYTE = 1024 if sys.platform == "darwin" else 1  # of what getrusage counts


class Peak:
    """An observer that notes the process's peak memory in kilobytes after every image."""

    def __init__(self):
        self.after = []

    def begin(self, done, to_do):
        pass

    def result(self, result):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.after.append(peak // KILOBYTE)

    def skipped(self, row):
        pass


def peaks(folder, drawn):
    """Run over all photos of a folder; with fits and figures, or with neither."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as every command does
    classifier, infiller, store = planted_classifier(), MeanInfiller(), ResultsStore(folder / "run")
    terminal, peak = Terminal(interactive=False), Peak()
    fit = {"mask": partial(ConcreteMask, grid=10), "steps": 1, "samples": 2}
    explainer = (
        Fido(classifier, infiller, SSR(0.02), progress=terminal, **fit) if drawn else RandomMap()
    )
    stored = StoredExplanations({"run": store})
    part = Part(
        "",
        {"localization": Localization()},
        {},
        StoredSamples(stored, ["run"]),
        ComparedRows(["run"]),
    )
    scoring = Evaluation([part], stored, folder / "evaluation")
    figures = (FigureObserver(store),) if drawn else ()
    observers = (*figures, terminal, ScoringObserver(scoring, "localization"), peak)
    runner = Runner(classifier, infiller, explainer, store, observers=observers)
    source = FolderPhotos(str(folder / "photos"), size=(40, 48))
    runner.run(source)
    return peak.after


@pytest.mark.parametrize(
    "drawn",
    [
        False,
        # A third of a second a figure.
        pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(7200)]),
    ],
)
def test_memory_stays_flat_over_two_thousand_images(tmp_path, drawn):
    for i in range(IMAGES):
        write_photo(tmp_path / "photos" / f"{i:04}.png")
    context = multiprocessing.get_context("spawn")  # its peak is its own, not the test run's
    with ProcessPoolExecutor(1, context) as pool:
        after = pool.submit(peaks, tmp_path, drawn).result()
    assert len(after) == IMAGES
    # 1,500 images of 23 kB each, to which maps and edits come, would be more than 35 MB.
    assert after[-1] - after[499] < 16_000
