"""How the pictures of the gallery look: the colours of fastcca.plotting, the size of the page."""

from typing import Any

from matplotlib import pyplot

from fastcca.plotting import COLOURS


def reset(gallery_conf: dict[str, Any], file_name: str) -> None:
    """Called by sphinx-gallery before each example, after its own reset."""
    pyplot.rcParams.update(
        {
            "axes.prop_cycle": pyplot.cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "figure.figsize": (6.4, 4.0),
            "legend.frameon": False,
        }
    )
