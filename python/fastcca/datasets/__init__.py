"""Data: one generator of two views whose answer is known exactly, and real data.

Everything here is read from files on this machine, except that :func:`load_mnist_halves` asks
scikit-learn to download what is not there.
"""

from fastcca.datasets._audio_visual import make_audio_visual_digits, make_incongruent_pairs
from fastcca.datasets._awa import load_awa
from fastcca.datasets._digits import load_digit_halves
from fastcca.datasets._fashion import load_fashion
from fastcca.datasets._home import get_data_home
from fastcca.datasets._mnist import load_mnist_halves
from fastcca.datasets._speech import add_noise, load_spoken_digits, speech_features
from fastcca.datasets._synthetic import make_two_views
from fastcca.datasets._wikipedia import load_wikipedia

__all__ = [
    "add_noise",
    "get_data_home",
    "load_awa",
    "load_digit_halves",
    "load_fashion",
    "load_mnist_halves",
    "load_spoken_digits",
    "load_wikipedia",
    "make_audio_visual_digits",
    "make_incongruent_pairs",
    "make_two_views",
    "speech_features",
]
