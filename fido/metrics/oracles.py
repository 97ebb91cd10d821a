"""Do other classifiers see the target class, too?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from fido.classifiers.base import Classifier
from fido.classifiers.folding import fold_batch_norms
from fido.metrics.base import Column, ImageMetric
from fido.metrics.functional.class_correspondence import shared_classes
from fido.metrics.functional.counterfactual_pair import counterfactual_pair
from fido.metrics.functional.pooled_features import resized
from fido.metrics.score_set import Array, ImageScore, ScoreSet
from fido.metrics.subjects import Explanations
from fido.records import Explanation, Sample
from fido.runtime.digests import network_digest


class Oracles(ImageMetric):
    """Agreement of classifiers that had no part in making the counterfactual.

    "ota_<name>" (oracle target accuracy): the oracle's most probable class is the target.
    "os_<name>" (oracle score): it is the explained classifier's most probable class, whether that
    flipped or not. "gain_<name>": by how much the oracle's p(target) is above that of the photo.
    "ota", "os" and "gain" are means over oracles. An attack flips the explained classifier alone;
    a change that means something to people transfers.

    An oracle with other classes is asked among those that both have, by name; a target that it does
    not know has no number. Images are resized for each oracle. Oracles that share an architecture
    and a training set with the explained network agree with it more than others would.

    Args:
        classifier: The explained one.
        classifiers: Name to oracle.
        on_same: What to do about an oracle with the weights of the explained network or of a guide
            of it: "refuse", or "skip" its columns.

    Raises:
        ValueError: If there is no oracle, or one has the weights of the explained network and is
            not to be skipped.

    Source: Vaeth et al. 2023, section 3 (OS, OTA), there with the explained network among the
    oracles of OS.
    """

    higher_is_better = True
    subject = Explanations()

    def __init__(
        self,
        classifier: Classifier,
        classifiers: Mapping[str, Classifier],
        on_same: Literal["refuse", "skip"] = "refuse",
    ) -> None:
        super().__init__()
        if not classifiers:
            raise ValueError(
                "metrics.oracles needs a classifier: +classifier@metrics.oracles.classifiers.a=NAME"
            )
        if on_same not in ("refuse", "skip"):
            raise ValueError(f"oracles.on_same must be refuse or skip, got {on_same!r}")
        self.classifier = classifier
        self.on_same = on_same
        # Folded as explained networks are, so that equal weights stay equal.
        self.oracles = nn.ModuleDict({n: fold_batch_norms(c) for n, c in classifiers.items()})
        self._shared = {
            name: shared_classes(classifier.class_names, oracle.class_names)
            for name, oracle in classifiers.items()
        }
        self._skipped: set[str] = set()
        self.columns = (
            Column("ota", "OTA, mean (%)", "higher", percent=True, digits=1),
            *(Column(f"ota_{n}", f"OTA {n} (%)", "higher", True, 1) for n in classifiers),
            Column("os", "OS, mean (%)", "higher", percent=True, digits=1),
            *(Column(f"os_{n}", f"OS {n} (%)", "higher", True, 1) for n in classifiers),
            Column("gain", "oracles' gain of p(target)", "higher"),
            *(Column(f"gain_{n}", f"gain of p(target), {n}", "higher") for n in classifiers),
        )
        self.recorded = tuple(
            f"{kind}_{name}" for kind in ("ota", "os", "gain") for name in classifiers
        )
        self.exclude(classifier, "the explained network")

    def exclude(self, network: Classifier, called: str) -> None:
        """Leave oracles with these weights out, or refuse them; see `on_same`.

        Args:
            network: The explained network, or a guide.
            called: What it is, for the error.

        Raises:
            ValueError: If an oracle has its weights and is not to be skipped.
        """
        theirs = network_digest(network.network)
        if theirs is None:  # a formula has no weights to tell it by
            return
        for name, oracle in self.oracles.items():
            assert isinstance(oracle, Classifier)
            if network_digest(oracle.network) != theirs:
                continue
            if self.on_same == "refuse":
                raise ValueError(
                    f"oracles.{name} has the weights of {called}: it is no witness. Take another "
                    f"one (classifier@metrics.oracles.classifiers.{name}=NAME) or "
                    "metrics.oracles.on_same=skip"
                )
            self._skipped.add(name)

    @torch.no_grad()
    def score(self, sample: Sample, explanation: Explanation) -> ImageScore:
        """See `ImageMetric.score`; skipped oracles are measured, too, and left out of columns.

        Raises:
            ValueError: If an oracle shares no class with the explained classifier.
        """
        pair = counterfactual_pair(sample, explanation)
        values = dict.fromkeys(self.recorded, math.nan)
        if pair is None:
            return ImageScore(values)
        answer = self.classifier.probabilities(pair[1:].to(self.classifier.device))
        explained = int(answer.argmax())
        for name in self.oracles:
            ours, probability = self._answers(name, pair)
            said = int(ours[int(probability[1].argmax())])
            if explanation.target in ours:
                place = ours.index(explanation.target)
                values[f"ota_{name}"] = float(said == explanation.target)
                values[f"gain_{name}"] = float(probability[1, place] - probability[0, place])
            if explained in ours:
                values[f"os_{name}"] = float(said == explained)
        return ImageScore(values)

    def finalize(self, scores: ScoreSet) -> dict[str, Array]:
        """See `ImageMetric.finalize`; the means are over oracles that are not skipped."""
        final: dict[str, Array] = {}
        for kind in ("ota", "os", "gain"):
            each = {
                name: np.full(len(scores), np.nan)
                if name in self._skipped
                else scores.value(f"{kind}_{name}")
                for name in self.oracles
            }
            stacked = np.stack(list(each.values()))
            defined = (~np.isnan(stacked)).sum(0)
            total = np.nansum(stacked, 0)
            final[kind] = np.divide(
                total, defined, out=np.full(len(scores), np.nan), where=defined > 0
            )
            final |= {f"{kind}_{name}": values for name, values in each.items()}
        return {column.name: final[column.name] for column in self.columns}

    def _answers(self, name: str, images: Tensor) -> tuple[list[int], Tensor]:
        """Explained classifier's indices of the shared classes, (n, shared) probabilities."""
        oracle = self.oracles[name]
        assert isinstance(oracle, Classifier)
        ours, theirs = self._shared[name]
        if not ours:
            raise ValueError(f"oracles.{name} knows none of the explained classifier's classes")
        logits = torch.cat([oracle(resized(image[None], oracle)).cpu() for image in images])
        return ours, logits[:, theirs].softmax(1)
