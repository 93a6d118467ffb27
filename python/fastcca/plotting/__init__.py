"""Pictures of fitted models, as scikit-learn's displays: the data first, then ``plot``.

Needs matplotlib: ``pip install 'fastcca[plot]'``.
"""

from fastcca.plotting._circles import CorrelationCircleDisplay
from fastcca.plotting._correlations import CorrelationDisplay
from fastcca.plotting._explanations import ExplanationDisplay
from fastcca.plotting._heat_maps import HeatMapDisplay, SimilarityDisplay
from fastcca.plotting._individuals import IndividualDisplay
from fastcca.plotting._inference import BootstrapDisplay, PermutationDisplay
from fastcca.plotting._labels import LabelMapDisplay, TaxonomyDisplay
from fastcca.plotting._lags import LagDisplay
from fastcca.plotting._loadings import LoadingDisplay
from fastcca.plotting._recall import RecallDisplay
from fastcca.plotting._selection import SelectionDisplay
from fastcca.plotting._style import COLOURS as COLOURS
from fastcca.plotting._training import TrainingDisplay
from fastcca.plotting._variates import VariateDisplay

__all__ = [
    "BootstrapDisplay",
    "CorrelationCircleDisplay",
    "CorrelationDisplay",
    "ExplanationDisplay",
    "HeatMapDisplay",
    "IndividualDisplay",
    "LabelMapDisplay",
    "LagDisplay",
    "LoadingDisplay",
    "PermutationDisplay",
    "RecallDisplay",
    "SelectionDisplay",
    "SimilarityDisplay",
    "TaxonomyDisplay",
    "TrainingDisplay",
    "VariateDisplay",
]
