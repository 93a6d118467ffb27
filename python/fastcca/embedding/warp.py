"""WSABIE: a bilinear ranking of the labels, trained by sampled violators."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import check_count
from fastcca._models.files import Schema
from fastcca.embedding._base import LabelEmbedding
from fastcca.embedding._checks import check_n_components, check_number
from fastcca.embedding._ridge import best_reg, ridge_start
from fastcca.embedding._training_data import Learned, TrainingData
from fastcca.functional.warp import warp_epoch

__all__ = ["WARPEmbedding"]

# The regression predicts ones; the margin asks for scores some times as large.
START = 3.0


class WARPEmbedding(LabelEmbedding):
    r"""Labels ranked by a bilinear score that is trained where the ranking errs: WSABIE.

    The score of label c is :math:`u_c^\top \Psi(x)` with :math:`\Psi(x) = W^\top f + b`, f the scaled
    inputs. A step takes a sample and draws labels until one comes within the margin of its own, or all
    were drawn. Found at draw t of C - 1, that label's hinge counts :math:`L(\lfloor (C-1)/t \rfloor)` times,
    :math:`L(r) = 1 + \tfrac12 + \dots + \tfrac1r`: the sooner, the worse the own label's rank must be. Each
    step changes two labels alone, which makes tens of thousands of them affordable.

    Parameters
    ----------
    n_components : int, optional
        Dimensions d of the space, at most the number of classes. By default that number; of more than 100
        classes 100, or p + 1 if that is less (which loses nothing).
    margin : float, default=1.0
        m > 0, in the units of the scores.
    max_norm : float, default=3.0
        Length > 0 that no label's point and no row of ``weights_`` exceeds.
    n_epochs : int, default=20
        Passes over the rows.
    learning_rate : float, default=0.005
        First step; it falls to 0 along half a cosine.
    class_weight : dict, "balanced" or None, default=None
        Factors of the weights of each class: a dict from label to number (1 where it has none), or
        "balanced", which gives all classes the same total.
    scale_power : float, default=0.5
        The centred columns of X are divided by their standard deviation to this power: 0 leaves them as they
        come, 1 gives them equal variance. A common factor of all columns changes nothing.
    normalize : bool, default=True
        Draw the rows towards one length, so that outliers do not lead the fit.
    temperature : float, optional
        What scores are divided by to be read as probabilities. By default the one that suits rows held out
        from a further fit; a number spares that.
    random_state : int, RandomState or None, default=None
        Of the order of the rows and the labels drawn.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    label_embedding_ : ndarray of shape (n_classes, d)
        The point of each label.
    weights_ : ndarray of shape (p, d)
        The map of the scaled inputs: Psi(x) = ``scaling_.transform(X) @ weights_ + intercept_``.
    intercept_ : ndarray of shape (d,)
        Its constant.
    scaling_ : InputScaling
        Means and factors of the inputs.
    loss_curve_ : ndarray of shape (n_epochs,)
        Mean loss of the sampled hinges, epoch by epoch.
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

    Notes
    -----
    Training starts at the one-hot ridge regression. Rows are drawn in proportion to their weights where these
    differ, so that weights are repetitions on the average only.

    References
    ----------
    J. Weston, S. Bengio and N. Usunier, "WSABIE: scaling up to large vocabulary image annotation",
    IJCAI 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import WARPEmbedding
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "owl"], 30)
    >>> X = rng.normal(size=(90, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 30)]
    >>> model = WARPEmbedding(random_state=0).fit(X, y)
    >>> model.predict_top_k(3 * np.eye(3, 5), k=1).ravel().tolist()
    ['cat', 'dog', 'owl']
    """

    _n_calibration_fits = 1
    _similarity = "product"

    _schema = Schema("WARPEmbedding", fields="loss_curve_")

    def __init__(
        self,
        n_components: int | None = None,
        margin: float = 1.0,
        max_norm: float = 3.0,
        n_epochs: int = 20,
        learning_rate: float = 0.005,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        scale_power: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_components = n_components
        self.margin = margin
        self.max_norm = max_norm
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.class_weight = class_weight
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature
        self.random_state = random_state

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name in ("margin", "max_norm", "learning_rate"):
            check_number(name, getattr(self, name), low=0.0, low_included=False)
        check_count("n_epochs", self.n_epochs)

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        return {
            "n_components": check_n_components(self.n_components, data.n_classes, data.features.shape[1]),
            "reg": best_reg(data),
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
        }

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        n, dtype = len(data.y), data.features.dtype
        w, b, labels = ridge_start(data, chosen["reg"], chosen["n_components"])
        # the intercept is the weight of an input that is always 1
        inputs = np.hstack([data.features, np.ones((n, 1), dtype)])
        weights = np.ascontiguousarray(START * np.vstack([w, b]).T, dtype)
        labels = np.ascontiguousarray(labels, dtype)
        rng = np.random.default_rng(chosen["seed"])
        even = bool((data.weight == data.weight[0]).all())
        curve = np.zeros(int(self.n_epochs))
        for epoch in range(len(curve)):
            order = rng.permutation(n) if even else rng.choice(n, size=n, p=data.share)
            loss, _, _ = warp_epoch(
                inputs,
                data.y,
                weights,
                labels,
                learning_rate=0.5 * float(self.learning_rate) * (1.0 + np.cos(np.pi * epoch / len(curve))),
                margin=float(self.margin),
                max_norm=float(self.max_norm),
                order=order,
                seed=int(rng.integers(2**31)),
            )
            curve[epoch] = loss / n
        return Learned(weights[:, :-1].T, weights[:, -1], labels, {"loss_curve_": curve})
