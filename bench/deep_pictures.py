"""Training curves from what bench.deep_mnist stored: ``python -m bench.deep_pictures PICTURE JSON...``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

CURVES = (
    ("train_correlation", "training images, noise on the inputs", "C0"),
    ("validation_correlation", "images held out", "C1"),
)
TITLES = {
    "defaults": "the defaults",
    "recipe": "the recipe",
    "lbfgs": "L-BFGS after denoising pretraining",
}


def draw(picture: str, runs: list[dict[str, Any]]) -> None:
    """A panel for each run: total correlation after each epoch, and that on the test images at the end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(runs), 3.4))
    panels = figure.subplots(1, len(runs), sharey=True, squeeze=False)[0]
    for ax, run in zip(panels, runs, strict=True):
        history = run["history"]
        epochs = [row["epoch"] for row in history]
        for name, label, colour in CURVES:
            values = [row[name] for row in history]
            if None not in values:
                noiseless = run["recipe"] == "lbfgs" and name == "train_correlation"
                ax.plot(epochs, values, color=colour, label="training images" if noiseless else label)
        ax.axhline(
            run["total"], color="0.4", linewidth=0.8, linestyle=":", label=f"{run['on']}: {run['total']:.2f}"
        )
        ax.set(xlabel="epoch", title=TITLES[run["recipe"]])
        ax.legend(fontsize=8, loc="lower right")
    panels[0].set(ylabel="total correlation, k = 50", ylim=(15, 50))
    figure.tight_layout()
    figure.savefig(picture, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture")
    parser.add_argument("json", nargs="+", help="the first run in each file is drawn")
    options = parser.parse_args()
    stored = [json.loads(Path(path).read_text())["rows"] for path in options.json]
    draw(options.picture, [next(row for row in rows if "history" in row) for rows in stored])


if __name__ == "__main__":
    main()
