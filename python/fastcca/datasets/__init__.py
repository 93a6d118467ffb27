"""Data: generators of views, real data that comes with scikit-learn, and loaders of public data sets.

The loaders read files of the data home (:func:`get_data_home`); the ``fetch_*`` functions put them there,
which needs pooch: ``pip install 'fastcca[data]'``. Only they download, and :func:`load_mnist_halves` and
:func:`make_noisy_mnist`, which ask scikit-learn for what is not there.
"""

from fastcca.datasets._audio_visual import make_audio_visual_digits, make_incongruent_pairs
from fastcca.datasets._awa import load_awa
from fastcca.datasets._digits import load_digit_attributes, load_digit_halves
from fastcca.datasets._fashion import load_fashion
from fastcca.datasets._fetch import (
    fetch_awa,
    fetch_fashion_mnist,
    fetch_mnist,
    fetch_spoken_digits,
    fetch_wikipedia,
    fetch_wordnet,
)
from fastcca.datasets._home import get_data_home
from fastcca.datasets._mnist import load_mnist_halves
from fastcca.datasets._noisy_mnist import make_noisy_mnist
from fastcca.datasets._omics import make_omics
from fastcca.datasets._speech import add_noise, load_spoken_digits, speech_features
from fastcca.datasets._synthetic import make_two_views
from fastcca.datasets._wikipedia import load_wikipedia

__all__ = [
    "add_noise",
    "fetch_awa",
    "fetch_fashion_mnist",
    "fetch_mnist",
    "fetch_spoken_digits",
    "fetch_wikipedia",
    "fetch_wordnet",
    "get_data_home",
    "load_awa",
    "load_digit_attributes",
    "load_digit_halves",
    "load_fashion",
    "load_mnist_halves",
    "load_spoken_digits",
    "load_wikipedia",
    "make_audio_visual_digits",
    "make_incongruent_pairs",
    "make_noisy_mnist",
    "make_omics",
    "make_two_views",
    "speech_features",
]
