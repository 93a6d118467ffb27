"""Nearest class mean: each label at the mean of its samples, in a given or a learned metric."""

from typing import Any

import numpy as np

from fastcca.embedding._base import LabelEmbedding, Learned, TrainingData

__all__ = ["NearestClassMean"]


class NearestClassMean(LabelEmbedding):
    r"""Each label at the mean of its samples; the nearest mean is the prediction.

    Parameters
    ----------
    scale_power : float, default=0.5
        The centred columns of X are divided by their standard deviation to this power: 0 leaves them as they
        come, 1 gives them equal variance. A common factor of all columns changes nothing.
    normalize : bool, default=True
        Draw the rows towards one length, so that outliers do not lead the means.
    temperature : float, optional
        What distances are divided by to be read as probabilities. By default the one that suits rows held out
        from three further fits; a number spares those.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    label_embedding_ : ndarray of shape (n_classes, d)
        The mean of each class in the space of :meth:`transform`.
    weights_, intercept_ : ndarray of shape (p, d) or None, (d,)
        Psi(x) = f @ weights_ + intercept_, f the scaled inputs, ``scaling_.transform(X)``; None stands for
        the identity.
    scaling_ : InputScaling
        Means and factors of the inputs.
    temperature_ : float
        Of :meth:`predict_proba`.
    n_features_in_ : int
        p.
    feature_names_in_ : ndarray of str
        Column names of X, where it was a data frame with text as column names.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, NaN or infinity, fewer than two classes.

    References
    ----------
    T. Mensink, J. Verbeek, F. Perronnin and G. Csurka, "Distance-based image classification: generalizing to
    new classes at near-zero cost", IEEE TPAMI 35, 2013.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import NearestClassMean
    >>> X = np.array([[0.0], [1.0], [4.0], [5.0]])
    >>> model = NearestClassMean().fit(X, ["low", "low", "high", "high"])
    >>> model.predict([[0.7], [9.0]]).tolist()
    ['low', 'high']
    """

    def __init__(
        self, scale_power: float = 0.5, normalize: bool = True, temperature: float | None = None
    ) -> None:
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        means = data.class_means()
        return Learned(None, np.zeros(means.shape[1]), means)
