"""Images of noise with a known box of evidence, explained well and badly, and their evaluation."""

import torch
from analytic import box_map, explanation, share_classifier

from fido.evaluation.evaluation import Evaluation
from fido.evaluation.parts import Part, parts_by_classifier
from fido.evaluation.stored_explanations import StoredExplanations
from fido.infillers.mean import MeanInfiller
from fido.infillers.random import RandomInfiller
from fido.masks.baseline_maps import REFERENCE_ROWS
from fido.metrics.deletion import Deletion
from fido.metrics.localization import Localization
from fido.metrics.outside_box import OutsideBox
from fido.metrics.saliency_metric import SaliencyMetric
from fido.metrics.subjects import ComparedRows
from fido.records import Sample
from fido.runs.store import ResultsStore

SIZE = (48, 64)
BOX = (8, 8, 24, 24)
BLACK = MeanInfiller((0.0, 0.0, 0.0))


def sample(i):
    image = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(i))
    image = (image * 255).round() / 255
    boxes = torch.tensor([[8.0, 8, 24, 24]]) if i % 4 else None
    return Sample(f"img{i:02d}", image, 0, boxes, 0)


def save(store, i, saliency, target=0):
    one = sample(i)
    row = {"id": one.id, "status": "explained", "label": one.label, "target": target}
    row |= {"area": 0.5, "p_kept": 0.9, "p_removed": None}
    store.save(one, explanation(saliency, one.id, target), row)


def noise(i, seed=0):
    generator = torch.Generator().manual_seed(1000 * seed + i)
    return torch.rand(1, *SIZE, generator=generator)


def two_stores(folder):
    """ "good" explains the box in 10 images; "noise" has 8 of them and 2 failures."""
    good, bad = ResultsStore(folder / "good"), ResultsStore(folder / "noise")
    for i in range(10):
        save(good, i, box_map(BOX, SIZE) + 0.01 * noise(i))
        if i < 8:
            save(bad, i, noise(i))
        else:
            row = {"id": sample(i).id, "status": "failed", "reason": "the loss is not finite"}
            bad.save_not_explained(row)
    return {"good": good, "noise": bad}


def metrics(classifier=None):
    classifier = classifier or share_classifier(BOX, SIZE)
    return {
        "localization": Localization(),
        "outside_box": OutsideBox(),
        "saliency_metric": SaliencyMetric(classifier, alphas=(0.2, 0.6)),
        "deletion": Deletion(classifier, RandomInfiller(), 512),
    }


def evaluation(stores, folder, which=None, settings=None, common=False, only_correct=False, **rows):
    """Of stores that all explain one classifier."""
    which = metrics() if which is None else which
    settings = {name: {"name": name} for name in which} if settings is None else settings
    compared = ComparedRows(list(stores), reference_rows=REFERENCE_ROWS, **rows)
    stored = StoredExplanations(stores)
    parts = parts_by_classifier(
        stored, compared, lambda classifier: (which, settings), False, only_correct, common
    )
    return Evaluation(parts, stored, folder)


def evaluation_of_samples(samples, folder, which=None, **rows):
    """Of photos that nothing explains."""
    which = metrics() if which is None else which
    part = Part("", which, {}, samples, ComparedRows(reference_rows=REFERENCE_ROWS, **rows))
    return Evaluation([part], StoredExplanations({}), folder)


def by_image(results, metric, row):
    """Image id to final numbers of one row; images must have one result each."""
    content = results[metric][row]
    return numbers(content.metric, content.scores)


def numbers(metric, scores=None):
    """Image id to final numbers of what a metric was updated with, or of scores."""
    scores = metric.scores() if scores is None else scores
    final = {name: values.tolist() for name, values in metric.finalize(scores).items()}
    assert len(set(scores.ids)) == len(scores.ids)
    return {i: {n: v[k] for n, v in final.items()} for k, i in enumerate(scores.ids)}


class Counting(torch.nn.Module):
    """Counts rows that go through a classifier."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.rows = 0

    def forward(self, x):
        self.rows += len(x)
        return self.network(x)


def counted():
    classifier = share_classifier(BOX, SIZE)
    classifier.network = Counting(classifier.network)
    return classifier
