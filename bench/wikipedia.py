"""Wikipedia articles, image to text and text to image: ``python -m bench.wikipedia``.

Rasiwasia et al. (2010): 2173 training and 693 test articles of ten categories, an image and a text each. A
query of one kind ranks all test articles of the other; those of its category are relevant, and mean average
precision judges. Correlation matching (CM) compares canonical variates, semantic matching (SM) the
categories' probabilities by a logistic regression of each view, semantic correlation matching (SCM) those
of a logistic regression of the variates. Histograms are square-rooted. Every parameter is chosen by the
mean of both directions on five folds of the training articles; the test articles are ranked by the chosen
models alone. Needs ``FASTCCA_DATA``. Writes ``docs/results/wikipedia.md``.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from bench.harness import Report, limit_threads, time_once, use_processor_time
from fastcca import CCA, KernelCCA
from fastcca.datasets import load_wikipedia
from fastcca.functional import median_gamma
from fastcca.metrics import mean_average_precision

Array = NDArray[Any]
Pair = tuple[Array, Array]
Choice = dict[str, float]

PAGE = Path(__file__).parents[1] / "docs" / "results" / "wikipedia.md"
PUBLISHED = {"CM": (0.249, 0.196), "SM": (0.225, 0.223), "SCM": (0.277, 0.226)}
REGS = (0.3, 1.0, 3.0)  # of correlations: the columns are scaled
KERNEL_REGS = (1e-2, 1e-1)
WIDTHS = (1.0, 2.0, 4.0)  # times the median heuristic's gamma
RANK = 300  # landmarks while choosing; the chosen model takes every row
POWERS = (0.0, 1.0, 2.0)
STRENGTHS = (0.01, 0.1, 1.0)  # C of the logistic regressions of variates
RAW_STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass
class Articles:
    """Image and text features of articles, and their category."""

    image: Array
    text: Array
    target: Array

    def rows(self, rows: Array) -> Articles:
        return Articles(self.image[rows], self.text[rows], self.target[rows])


@dataclass
class Space:
    """Both views of some articles where they are compared, by the parameters that lead there."""

    chosen: Choice
    train: Pair
    held_out: Pair
    correlations: Array


Spaces = Callable[[Articles, Articles, Choice | None], Iterator[Space]]


def linear_spaces(train: Articles, held_out: Articles, only: Choice | None) -> Iterator[Space]:
    for reg in REGS if only is None else (only["reg"],):
        model = CCA(reg=reg, scale=True).fit(train.image, train.text)
        for k in (6, 8, 10) if only is None else (int(only["k"]),):
            yield space(model, train, held_out, k, {"reg": reg, "k": k})


def kernel_spaces(train: Articles, held_out: Articles, only: Choice | None) -> Iterator[Space]:
    medians = median_gamma(train.image), median_gamma(train.text)
    settings = product(WIDTHS, KERNEL_REGS) if only is None else [(only["width"], only["reg"])]
    for width, reg in settings:
        gamma = width * medians[0], width * medians[1]
        rank = RANK if only is None else len(train.image)
        model = KernelCCA(32, gamma=gamma, reg=reg, rank=rank, random_state=0).fit(train.image, train.text)
        for k in (16, 32) if only is None else (int(only["k"]),):
            yield space(model, train, held_out, k, {"width": width, "reg": reg, "k": k})


def space(model: Any, train: Articles, held_out: Articles, k: int, chosen: Choice) -> Space:
    parts = [
        tuple(scores[:, :k] for scores in model.transform_views(part.image, part.text))
        for part in (train, held_out)
    ]
    return Space(chosen, parts[0], parts[1], model.canonical_correlations_[:k])


def raw_spaces(train: Articles, held_out: Articles, only: Choice | None) -> Iterator[Space]:
    """The features themselves, scaled: semantic matching has no variates."""
    both = [
        (scaler.transform(a), scaler.transform(b))
        for a, b in ((train.image, held_out.image), (train.text, held_out.text))
        for scaler in (StandardScaler().fit(a),)
    ]
    yield Space({}, (both[0][0], both[1][0]), (both[0][1], both[1][1]), np.ones(0))


def matched(found: Space, target: Array, only: Choice | None) -> Iterator[tuple[Choice, Pair]]:
    """Variates, weighted by powers of their correlations."""
    for power in POWERS if only is None else (only["power"],):
        weights = np.maximum(found.correlations, 0) ** power
        yield {"power": power}, (found.held_out[0] * weights, found.held_out[1] * weights)


def semantic(strengths: tuple[float, ...]) -> Callable[..., Iterator[tuple[Choice, Pair]]]:
    """Probabilities of the categories, less their mean of a tenth: their cosine is a correlation."""

    def match(found: Space, target: Array, only: Choice | None) -> Iterator[tuple[Choice, Pair]]:
        for strength in strengths if only is None else (only["C"],):
            image, text = (
                LogisticRegression(C=strength, max_iter=2000).fit(a, target).predict_proba(b)
                for a, b in zip(found.train, found.held_out, strict=True)
            )
            yield (
                {"C": strength},
                (image - image.mean(axis=1, keepdims=True), text - text.mean(axis=1, keepdims=True)),
            )

    return match


Match = Callable[[Space, Array, "Choice | None"], Iterator[tuple[Choice, Pair]]]

# The rows, by the spaces that they share.
METHODS: dict[str, tuple[Spaces, dict[str, Match]]] = {
    "CCA": (linear_spaces, {"CM, CCA": matched, "SCM, CCA": semantic(STRENGTHS)}),
    "none": (raw_spaces, {"SM": semantic(RAW_STRENGTHS)}),
    "KernelCCA": (kernel_spaces, {"CM, KernelCCA": matched, "SCM, KernelCCA": semantic(STRENGTHS)}),
}
ORDER = ("CM, CCA", "CM, KernelCCA", "SM", "SCM, CCA", "SCM, KernelCCA")


def precision(pair: Pair, target: Array) -> tuple[float, float]:
    """Of texts ranked for images, and of images ranked for texts."""
    image, text = pair
    return (
        mean_average_precision(image, text, target, target),
        mean_average_precision(text, image, target, target),
    )


def choose(spaces: Spaces, matches: dict[str, Match], articles: Articles) -> dict[str, tuple[Choice, float]]:
    """For each row the parameters of the largest mean average precision on held-out folds, and that."""
    found: dict[str, dict[tuple[tuple[str, float], ...], list[float]]] = {name: {} for name in matches}
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    for fit, test in folds.split(articles.image, articles.target):
        train, held_out = articles.rows(fit), articles.rows(test)
        for place, (name, match) in product(spaces(train, held_out, None), matches.items()):
            for chosen, pair in match(place, train.target, None):
                key = tuple({**place.chosen, **chosen}.items())
                found[name].setdefault(key, []).append(float(np.mean(precision(pair, held_out.target))))
    best = {}
    for name, scores in found.items():
        key = max(scores, key=lambda key: float(np.mean(scores[key])))
        best[name] = dict(key), float(np.mean(scores[key]))
    return best


def evaluate(
    spaces: Spaces, match: Any, train: Articles, test: Articles, chosen: Choice
) -> tuple[float, float]:
    (place,) = spaces(train, test, chosen)
    ((_, pair),) = match(place, train.target, chosen)
    return precision(pair, test.target)


def load() -> tuple[Articles, Articles]:
    data = load_wikipedia()
    train, test = (
        Articles(np.sqrt(data[f"image_{split}"]), np.sqrt(data[f"text_{split}"]), data[f"target_{split}"])
        for split in ("train", "test")
    )
    return train, test


def page(rows: list[dict[str, Any]], chance: float) -> str:
    lines = []
    for row in rows:
        published = PUBLISHED[row["case"].split(",")[0]] if "Kernel" not in row["case"] else None
        told = "" if published is None else f"{published[0]:.3f}, {published[1]:.3f}"
        lines.append(
            f"| {row['case']} | {row['image_to_text']:.3f} | {row['text_to_image']:.3f} | "
            f"{row['mean']:.3f} | {told} | {row['folds']:.3f} | {row['chosen']} |"
        )
    return f"""# Images and texts of Wikipedia

2866 articles of ten categories, each an image (a histogram of 128 SIFT words) and a text (the weights of
ten LDA topics): the data of Rasiwasia et al. (2010). A query of one kind ranks the 693 test articles of the
other kind by the cosine; articles of the query's category are relevant. Mean average precision:

| method | image → text | text → image | mean | published | training folds, mean | chosen |
| --- | ---: | ---: | ---: | --- | ---: | --- |
{chr(10).join(lines)}
| chance | {chance:.3f} | {chance:.3f} | {chance:.3f} | 0.118 | | |

* **Correlation matching (CM)** compares canonical variates. It knows the pairs and not the categories;
  `power` is the power of its correlation that each pair of variates is multiplied by, the
  `correlation_power` of {{class}}`~fastcca.retrieval.CrossViewSearch`.
* **Semantic matching (SM)** compares the probabilities of the categories by a logistic regression of each
  view, as correlations of ten numbers. It knows the categories and not the pairs.
* **Semantic correlation matching (SCM)** does so with logistic regressions of the variates, and uses both.

Histograms are square-rooted, so that their inner product is the Bhattacharyya coefficient. Ridge, number of
pairs, width of the kernel (in multiples of the median heuristic's gamma), power and C of the logistic
regressions are chosen by the mean of both directions on five folds of the 2173 training articles, with
{RANK} landmarks for the kernel; the chosen kernel model takes every training article. Test articles are
ranked by the chosen models alone. Published: the table of Rasiwasia et al., "A new approach to cross-modal
multimedia retrieval", ACM Multimedia 2010, whose features were not square-rooted.

`python -m bench.wikipedia` in the sources computes all of it and writes this page; the data are read from
`FASTCCA_DATA`, see {{func}}`~fastcca.datasets.load_wikipedia`.
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--method", action="append", choices=list(METHODS), help="only this one; writes no page"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", metavar="PATH", help="store machine, versions and rows")
    options = parser.parse_args(arguments)
    if options.threads == 1:
        use_processor_time()
    with limit_threads(options.threads):
        report = Report(options.threads, allow_slow_numpy=True)
        train, test = load()
        for kind in options.method or METHODS:
            spaces, matches = METHODS[kind]
            best, seconds = time_once(partial(choose, spaces, matches, train))
            for name, (chosen, folds) in best.items():
                found = evaluate(spaces, matches[name], train, test, chosen)
                report.add(
                    name,
                    "Wikipedia, 2173 training and 693 test articles",
                    float(np.mean(PUBLISHED[name.split(",")[0]])),
                    mean=float(np.mean(found)),
                    image_to_text=found[0],
                    text_to_image=found[1],
                    folds=folds,
                    chosen=", ".join(f"{key} {value:g}" for key, value in chosen.items()),
                    seconds=seconds,
                )
        report.save(options.json)
    if options.method is None:
        random = np.random.default_rng(0).normal(size=(2, len(test.target), 10))
        PAGE.write_text(
            page(
                sorted(report.rows, key=lambda row: ORDER.index(row["case"])),
                precision((random[0], random[1]), test.target)[0],
            )
        )


if __name__ == "__main__":
    main()
