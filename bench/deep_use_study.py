"""The fits of the page on Fashion-MNIST: one CNN, each row chosen on validation images, results kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

import fastcca
from fastcca.datasets import load_fashion
from fastcca.deep import DeepLabelEmbedding
from fastcca.embedding import (
    AttributeHierarchyLabelEmbedding,
    AttributeLabelEmbedding,
    HierarchyLabelEmbedding,
    LargeMarginTaxonomyEmbedding,
    NearestClassMean,
    RidgeEmbedding,
)
from fastcca.metrics import generalised_zero_shot, hierarchical_precision_at_k, hit_at_k
from fastcca.retrieval import LabelSearch

__all__ = ["MEASURES", "QUERIES", "ROWS", "SOFTMAX", "TARGETS", "TRANSFERRED", "Study"]

Array = NDArray[Any]
Figures = dict[str, float]
Options = dict[str, Any]

MEASURES = ("hit@1", "hit@2", "hit@5", "hp@2", "hp@5")
SOFTMAX = "CNN, softmax"
QUERIES = ("bag", "sandal", "upper body", "closed shoe")


def cnn(seed: int) -> nn.Module:
    """Two convolutions of 16 and 32 channels, 128 outputs: 206,000 weights."""
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Unflatten(1, (1, 28)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.MaxPool2d(2),  # before the normalisation, which then has a quarter of the numbers to pass over
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 49, 128),
        nn.ReLU(),
        nn.Dropout(0.3),
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


# ---- the rows of the table


@dataclass(frozen=True)
class Regime:
    """How many images of a class, and how they are trained on."""

    n_train: int
    n_validation: int
    n_epochs: int
    batch_size: int


REGIMES = {"thirty": Regime(30, 30, 40, 60), "all": Regime(5500, 500, 3, 128)}
FIRST_EPOCHS = 6  # from all images, as a plain classifier, before the epochs of each row

_NORMS: list[Options] = [{"lambda2": 0.002}, {"lambda2": 0.01}]
_MU1 = (0.1, 0.5)
_R: list[Options] = [
    {"mu1": 0.1, "mu2": mu2, "beta": beta}
    for mu2, beta in [(0.03, "attributes"), (0.1, "attributes"), (0.3, "attributes"), (0.1, "learned")]
]
# What may be chosen for each row, on validation images; from all images the first alone is taken.
ROWS: Mapping[str, Sequence[Options]] = {
    SOFTMAX: [{"loss": "softmax", **norm} for norm in _NORMS],
    "LME (hinge)": [{"loss": "lme", "class_loss": "hinge", **norm} for norm in _NORMS],
    "LME": [{"loss": "lme", **norm} for norm in _NORMS],
    "LME-MTL-S": [{"mu1": (mu, 0.0), "mu2": 0.0} for mu in _MU1],
    "LME-MTL-A": [{"mu1": (0.0, mu), "mu2": 0.0} for mu in _MU1],
    "USE-No Reg": [{"mu1": mu, "mu2": 0.0} for mu in _MU1],
    "USE-Reg": _R,
}
FROM_ALL_IMAGES: Mapping[str, Sequence[Options]] = {"USE-Reg": _R[:2]}

# ---- new classes

TARGETS = {
    "new": ("pullover", "dress", "sneaker"),  # below a known parent each: warm top, garment, closed shoe
    "pseudo": ("shirt", "trouser", "sandal"),  # likewise among the seven others: light top, garment, footwear
}
NEW, PSEUDO = TARGETS.values()
SOURCES: Mapping[str, Options] = {
    "LME": {"loss": "lme"},
    "USE-No Reg": {"mu1": 0.1, "mu2": 0.0},
    "USE-Reg": {"mu1": 0.1, "mu2": 0.1, "beta": "attributes"},
}
TRANSFERRED = {"LME": "LME with transfer", "USE-No Reg": "USE-No Reg", "USE-Reg": "USE-Reg"}
_SHRINK = (0.01, 0.1, 1.0)
_SHOTS: Mapping[str, Sequence[Options]] = {
    "LME": [{"lambda1": shrink} for shrink in _SHRINK],
    "USE-No Reg": [{"lambda1": shrink} for shrink in _SHRINK],
    "USE-Reg": [{"lambda1": shrink, "mu2": mu2} for shrink in _SHRINK for mu2 in (0.1, 0.3, 1.0)],
}


class Study:
    """Fits and their figures. Each result is a file of ``cache``, not computed again while it is there.

    ``quick``: fewer images and epochs, to see that it runs.
    """

    def __init__(self, cache: Path, quick: bool = False) -> None:
        self.data = load_fashion()
        names = self.data.attribute_names
        self.attributes = pd.DataFrame.from_dict(self.data.attributes, orient="index", columns=names)
        self.cache, self.quick = cache, quick
        self.x, self.y = self.data.images_train.astype(np.float32), self.data.target_train
        self.x_test, self.y_test = self.data.images_test.astype(np.float32), self.data.target_test
        if quick:
            self.x_test, self.y_test = self.x_test[:1000], self.y_test[:1000]

    def kept(self, name: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of that name, with the processor seconds that it took."""
        path = self.cache / f"{name}.json"
        if path.exists():
            found: dict[str, Any] = json.loads(path.read_text())
            return found
        begin = time.process_time()
        found = compute()
        found["seconds"] = time.process_time() - begin
        self.cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(found, indent=1))
        part.replace(path)
        print(f"{name}: {found['seconds']:.0f} s", flush=True)
        return found

    def model(self, seed: int, n_epochs: int, batch_size: int, **options: Any) -> DeepLabelEmbedding:
        if not {"source", "encoder"} & set(options):
            options["encoder"] = cnn(seed)
        return DeepLabelEmbedding(
            self.data.taxonomy,
            self.attributes,
            n_epochs=2 if self.quick else n_epochs,
            batch_size=batch_size,
            learning_rate=2e-3,
            random_state=seed,
            **options,
        )

    def figures(self, model: Any, x: Array, y: Array) -> Figures:
        scores, classes = model.decision_function(x), model.classes_
        found = {f"hit@{k}": 100 * hit_at_k(y, scores, k, classes=classes) for k in (1, 2, 5)}
        for k in (2, 5):
            found[f"hp@{k}"] = 100 * hierarchical_precision_at_k(
                y, scores, k, self.data.taxonomy, classes=classes
            )
        return found

    # ---- (1) the rows of the table

    def row(self, regime: str, seed: int, row: str) -> dict[str, Any]:
        """``rows``: figures on the test images, by name; with the softmax those of the shallow rows too."""
        return self.kept(f"{regime}-{seed}-{row}", lambda: self._row(REGIMES[regime], seed, row))

    def network(self, seed: int) -> nn.Module:
        """What the rows from all images go on from: the CNN after some epochs as a plain classifier."""
        file = self.cache / f"all-{seed}-network.fastcca"

        def compute() -> dict[str, Any]:
            x, y, held_out = self._images(REGIMES["all"], seed)
            model = self.model(seed, FIRST_EPOCHS, 128, loss="softmax").fit(x, y, validation=held_out)
            self.cache.mkdir(parents=True, exist_ok=True)
            model.save(file)
            return {"validation": self.figures(model, *held_out)}

        self.kept(file.stem, compute)
        body: nn.Module = fastcca.load(file, encoder=cnn(0)).encoder_[0]
        return body.train()

    def _images(self, regime: Regime, seed: int) -> tuple[Array, Array, tuple[Array, Array]]:
        """Images to train on, their labels, and a pair of both to validate on."""
        n = 60 if self.quick and regime.n_train > 60 else regime.n_train
        rng = np.random.default_rng(seed)
        order = [rng.permutation(np.flatnonzero(self.y == name)) for name in self.data.target_names]
        train = np.concatenate([rows[:n] for rows in order])
        held = np.concatenate([rows[n : n + regime.n_validation] for rows in order])
        return self.x[train], self.y[train], (self.x[held], self.y[held])

    def _row(self, regime: Regime, seed: int, row: str) -> dict[str, Any]:
        x, y, held_out = self._images(regime, seed)
        everything = regime is REGIMES["all"]
        start: Options = {"encoder": self.network(seed)} if everything else {}
        tried: list[dict[str, Any]] = []
        best: tuple[float, Any] = (-np.inf, None)
        for options in FROM_ALL_IMAGES.get(row, ROWS[row][:1]) if everything else ROWS[row]:
            model = self.model(seed, regime.n_epochs, regime.batch_size, **start, **options)
            model.fit(x, y, validation=held_out)
            found = self.figures(model, *held_out)
            # hits count four times, as on the page of the Animals with Attributes
            value = 4 * found["hit@1"] + found["hp@5"]
            tried.append({"options": options, "validation": found, "best_epoch": model.best_epoch_})
            if value > best[0]:
                best, chosen = (value, model), options
        rows = {row: self.figures(best[1], self.x_test, self.y_test)}
        if row == SOFTMAX:
            rows |= self._shallow(best[1], x, y, seed)
        return {"rows": rows, "chosen": chosen, "tried": tried}

    def _shallow(self, network: DeepLabelEmbedding, x: Array, y: Array, seed: int) -> dict[str, Figures]:
        """The estimators of ``fastcca.embedding`` on the 128 outputs of the CNN trained with the softmax."""
        if len(x) > 10000:  # not all of them are linear in the rows
            some = np.random.default_rng(seed).permutation(len(x))[:10000]
            x, y = x[some], y[some]
        features, test = self._outputs(network, x), self._outputs(network, self.x_test)
        tree, attributes = self.data.taxonomy, self.attributes
        models: dict[str, Any] = {
            "Ridge": RidgeEmbedding(temperature=1.0),
            "NCM": NearestClassMean(temperature=1.0),
            "LMTE": LargeMarginTaxonomyEmbedding(tree, temperature=1.0),
            "ALE": AttributeLabelEmbedding(attributes, temperature=1.0, random_state=seed),
            "HLE": HierarchyLabelEmbedding(tree, temperature=1.0, random_state=seed),
            "AHLE": AttributeHierarchyLabelEmbedding(tree, attributes, temperature=1.0, random_state=seed),
        }
        return {
            name: self.figures(model.fit(features, y), test, self.y_test) for name, model in models.items()
        }

    @torch.no_grad()
    def _outputs(self, network: DeepLabelEmbedding, x: Array) -> Array:
        body = network.encoder_[0]  # type: ignore[index]
        parts = [(part - network.x_mean_) / network.x_scale_ for part in np.array_split(x, 20)]
        return np.concatenate([body(torch.from_numpy(part)).numpy() for part in parts])

    # ---- (2), (3) new classes

    def source(self, target: str, name: str) -> DeepLabelEmbedding:
        """The model of all classes but the new ones, and but the pseudo-targets where these are asked for.

        The last 200 images of each class are left out.
        """
        file = self.cache / f"source-{target}-{name}.fastcca"

        def compute() -> dict[str, Any]:
            left_out = {*NEW, *TARGETS[target]}
            known = [label for label in self.data.target_names if label not in left_out]
            rows = np.setdiff1d(np.flatnonzero(np.isin(self.y, known)), self._last(known))
            rows = rows[:1000] if self.quick else rows
            model = self.model(0, 3, 128, **SOURCES[name]).fit(self.x[rows], self.y[rows])
            self.cache.mkdir(parents=True, exist_ok=True)
            model.save(file)
            return {"validation_score": model.history_[model.best_epoch_ - 1]["validation_score"]}

        self.kept(file.stem, compute)
        model: DeepLabelEmbedding = fastcca.load(file, encoder=cnn(0))
        return model

    def _last(self, labels: Iterable[str]) -> Array:
        """The last 200 training images of each label."""
        return np.concatenate([np.flatnonzero(self.y == label)[-200:] for label in labels])

    def few_shot(self, draws: int) -> dict[str, Any]:
        """``found``: accuracies of each row, draw by draw; ``chosen``: parameters, by pseudo-targets."""
        return self.kept(f"few-shot-{draws}", lambda: self._few_shot(draws))

    def _few_shot(self, draws: int) -> dict[str, Any]:
        chosen: dict[str, Options] = {}
        for name, grid in _SHOTS.items():
            source = self.source("pseudo", name)
            values = [
                np.mean([self._shots(PSEUDO, draw, name, source, options) for draw in range(5)])
                for options in grid
            ]
            chosen[name] = grid[int(np.argmax(values))]
        found: dict[str, list[float]] = {"LME": []}
        for draw in range(draws):
            found["LME"].append(self._shots(NEW, draw, "LME", None, {}))
        for name, row in TRANSFERRED.items():
            source = self.source("new", name)
            found[row] = [self._shots(NEW, draw, name, source, chosen[name]) for draw in range(draws)]
        return {"found": found, "chosen": chosen}

    def _shots(
        self, new: Sequence[str], draw: int, name: str, source: DeepLabelEmbedding | None, options: Options
    ) -> float:
        """Per cent of images right, among the new classes, from two images of each.

        Test images for NEW; for pseudo-targets other training images.
        """
        rng = np.random.default_rng(draw)
        order = [rng.permutation(np.flatnonzero(self.y == label)) for label in new]
        two = np.concatenate([rows[:2] for rows in order])
        given = {} if source is None else {"source": source}
        model = self.model(draw, 100, 6, **given, **{**SOURCES[name], **options})
        model.fit(self.x[two], self.y[two])
        if new is PSEUDO:
            out = np.concatenate([rows[2:502] for rows in order])
            return 100 * model.score(self.x[out], self.y[out])
        of_new = np.isin(self.y_test, NEW)
        return 100 * model.score(self.x_test[of_new], self.y_test[of_new])

    def zero_shot(self) -> dict[str, Any]:
        """``found``: figures of each row."""
        return self.kept("zero-shot", self._zero_shot)

    def _zero_shot(self) -> dict[str, Any]:
        found: dict[str, Figures] = {}
        for name in ("USE-No Reg", "USE-Reg"):
            pseudo, source = self.source("pseudo", name), self.source("new", name)
            # What decisions are lowered by is in units of their spread, which differs from model to model.
            units = [
                float(np.ptp(model.decision_function(self.x[self._last(model.classes_)]), axis=1).mean())
                for model in (pseudo, source)
            ]
            held, shifts = self._last([*pseudo.classes_, *PSEUDO]), np.linspace(0, 1, 41)
            by = [
                generalised_zero_shot(
                    self.y[held],
                    pseudo.with_classes(PSEUDO, seen_calibration=shift * units[0]).predict(self.x[held]),
                    set(PSEUDO),
                ).harmonic_mean
                for shift in shifts.tolist()
            ]
            lowered_by = float(shifts[int(np.argmax(by))]) * units[1]
            only = source.with_classes(NEW, only=True)
            of_new = np.isin(self.y_test, NEW)
            plain, calibrated = (
                generalised_zero_shot(
                    self.y_test,
                    source.with_classes(NEW, seen_calibration=lowered).predict(self.x_test),
                    set(NEW),
                )
                for lowered in (0.0, lowered_by)
            )
            found[name] = {
                "new classes alone": 100 * only.score(self.x_test[of_new], self.y_test[of_new]),
                "H": 100 * plain.harmonic_mean,
                "seen, calibrated": 100 * calibrated.seen,
                "unseen, calibrated": 100 * calibrated.unseen,
                "H, calibrated": 100 * calibrated.harmonic_mean,
            }
        return {"found": found}

    # ---- (4) explanations

    def explanations(self) -> dict[str, Any]:
        """What is written and drawn of USE-Reg on 20,000 images."""
        return self.kept("explain", self._explanations)

    def _explanations(self) -> dict[str, Any]:
        rows = np.random.default_rng(0).permutation(len(self.y))[: 600 if self.quick else 20000]
        model = self.model(0, 3, 128, mu1=0.1, mu2=0.1).fit(self.x[rows], self.y[rows])
        # the plane of the greatest variance of the labels; attributes are directions
        centre = model.label_embedding_.mean(axis=0)
        plane = np.linalg.svd(model.label_embedding_ - centre, full_matrices=False)[2][:2].T
        search = LabelSearch(model).fit(self.x_test)
        images = [int(np.flatnonzero(self.y_test == name)[0]) for name in ("ankle boot", "dress", "coat")]
        by_image = search.search(self.x_test[images[:1]], k=6).indices[:, 1:]  # the first is the image itself
        scores = model.predict_attributes(self.x_test[images])
        return {
            "nodes": [str(node) for node in model.nodes_],
            "parents": [None if parent is None else str(parent) for parent in model.parents_],
            "n_classes": len(model.classes_),
            "at": ((model.node_embedding_ - centre) @ plane).tolist(),
            "root": (-centre @ plane).tolist(),
            "attributes": list(model.attribute_names_),
            "directions": (model.attribute_embedding_ @ plane).tolist(),
            "sentences": [str(model.explain(node, 4)) for node in model.nodes_],
            "by_label": search.search_labels(list(QUERIES), k=5).indices.tolist(),
            "by_image": by_image.tolist(),
            "images": images,
            "labels": [str(self.y_test[i]) for i in images],
            "of_images": [str(e) for e in model.explain_samples(self.x_test[images], 4)],
            "nearest": [
                [[model.attribute_names_[i], float(row[i])] for i in np.argsort(-row)[:4]] for row in scores
            ],
        }
