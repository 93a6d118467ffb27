"""Ridge regression to label vectors: the simplest label embedding."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fastcca._models.files import Schema
from fastcca.embedding._base import LabelEmbedding
from fastcca.embedding._checks import check_number
from fastcca.embedding._ridge import best_reg, ridge_path
from fastcca.embedding._training_data import Learned, TrainingData

__all__ = ["RidgeEmbedding"]


class RidgeEmbedding(LabelEmbedding):
    r"""Ridge regression of one-hot label vectors on the inputs; the nearest label vector is the prediction.

    .. math:: \min_{W, b} \tfrac1N \sum_i \lVert W^\top f_i + b - e_{y_i} \rVert^2 + r \lVert W \rVert^2

    with the centred, scaled inputs f.

    Parameters
    ----------
    reg : float, optional
        Ridge r >= 0, as a share of the total variance of the scaled inputs. By default the one of thirteen
        from 1e-5 to 10 with the least squared error on held-out rows; ``reg_`` tells.
    class_weight : dict, "balanced" or None, default=None
        Factors of the weights of each class: a dict from label to number (1 where it has none), or
        "balanced", which gives all classes the same total.
    scale_power : float, default=0.5
        The centred columns of X are divided by their standard deviation to this power: 0 leaves them as they
        come, 1 gives them equal variance. A common factor of all columns changes nothing.
    normalize : bool, default=True
        Draw the rows towards one length, so that outliers do not lead the fit.
    temperature : float, optional
        What distances are divided by to be read as probabilities. By default the one that suits rows held out
        from three further fits; a number spares those.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    label_embedding_ : ndarray of shape (n_classes, d)
        The point of each label; here the identity.
    weights_, intercept_ : ndarray of shape (p, d), (d,)
        ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``.
    scaling_ : InputScaling
        Means and factors of the inputs.
    reg_ : float
        The ridge used.
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

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import RidgeEmbedding
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "owl"], 30)
    >>> X = rng.normal(size=(90, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 30)]
    >>> model = RidgeEmbedding().fit(X, y)
    >>> model.predict(3 * np.eye(3, 5)).tolist()
    ['cat', 'dog', 'owl']
    >>> model.score(X, y) > 0.9
    True
    """

    _schema = Schema("RidgeEmbedding", fields="reg_")

    def __init__(
        self,
        reg: float | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        scale_power: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
    ) -> None:
        self.reg = reg
        self.class_weight = class_weight
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.reg is not None:
            check_number("reg", self.reg, low=0.0)

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        return {"reg": float(self.reg) if self.reg is not None else best_reg(data)}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        reg = chosen["reg"]
        weights, intercept = next(ridge_path(data, None, [reg]))
        return Learned(weights, intercept, np.eye(data.n_classes), {"reg_": reg})
