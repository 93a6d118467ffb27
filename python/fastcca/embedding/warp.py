"""WSABIE: a bilinear ranking of the labels, trained by sampled negatives."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from fastcca._arguments.parameters import LEARNING_RATE, N_COMPONENTS, N_EPOCHS, POSITIVE, RANDOM_STATE
from fastcca._models.files import Schema
from fastcca.embedding._base import CLASS_WEIGHT, LabelEmbedding, Learned, dimensions
from fastcca.embedding._data import TrainingData
from fastcca.embedding._docs import documented
from fastcca.embedding._training import Schedule, seed_of
from fastcca.embedding.ridge import best_reg, ridge_start
from fastcca.functional.warp import warp_epoch

__all__ = ["WARPEmbedding"]

# The regression predicts ones; the margin asks for scores some times as large.
START = 3.0


@documented
class WARPEmbedding(LabelEmbedding):
    r"""Labels ranked by a bilinear score, trained by stochastic gradient descent on the WARP loss: WSABIE.

    .. math:: \min_{W, b, U} \tfrac1N \sum_i L(r_i)\, [m - s_{y_i}(f_i) + s_{c_i}(f_i)]_+
       \quad\text{with}\quad s_c(f) = u_c^\top \Psi(x),\ \Psi(x) = W^\top f + b

    for the scaled inputs f, with bounded norms. A step takes a sample and draws labels until one,
    :math:`c_i`, comes within the margin m of its own, or all were drawn. Found at draw t of C - 1 it gives
    :math:`r_i = \lfloor (C-1)/t \rfloor`, an estimate of the rank of the sample's own label, and
    :math:`L(r) = 1 + \tfrac12 + \dots + \tfrac1r`. A step changes two labels alone, so that tens of
    thousands of them are affordable. A sample with several labels has its weight in equal parts with each of
    them, and none of its others is drawn.

    Parameters
    ----------
    {n_components}
    margin : float, default=1.0
        m > 0, in the units of the scores.
    max_norm : float, default=3.0
        Upper bound > 0 of the norms of the labels' points and of the rows of ``weights_``.
    n_epochs : int, default=20
        Passes over the rows.
    learning_rate : float, default=0.005
        Initial learning rate, with cosine annealing to 0.
    {class_weight}
    {scaling}
    {temperature}
    random_state : int, RandomState or None, default=None
        Seed of the order of the rows and of the sampled negatives.

    {classes_and_points}
    {map}
    {scaling_}
    loss_curve_ : ndarray of shape (n_epochs,)
        Mean loss of the sampled hinges, epoch by epoch.
    {fitted}

    {raises_for_one_class}

    Notes
    -----
    Training is initialised with the one-hot ridge regression. Rows are drawn in proportion to their weights
    where these differ, so that weights are repetitions in expectation only.

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
    _takes_label_sets = True
    _similarity = "product"

    _schema = Schema("WARPEmbedding", fields="loss_curve_")
    _constraints = {  # noqa: RUF012
        **LabelEmbedding._constraints,
        "n_components": N_COMPONENTS,
        "margin": POSITIVE,
        "max_norm": POSITIVE,
        "n_epochs": N_EPOCHS,
        "learning_rate": LEARNING_RATE,
        "class_weight": CLASS_WEIGHT,
        "random_state": RANDOM_STATE,
    }

    def __init__(
        self,
        n_components: int | None = None,
        margin: float = 1.0,
        max_norm: float = 3.0,
        n_epochs: int = 20,
        learning_rate: float = 0.005,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        whitening_exponent: float = 0.5,
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
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature
        self.random_state = random_state

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        return {
            "n_components": dimensions(self.n_components, data.n_classes, data.features.shape[1]),
            "ridge": best_reg(data),
            "seed": seed_of(self.random_state),
        }

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        n, dtype = len(data.y), data.features.dtype
        w, b, labels = ridge_start(data, chosen["ridge"], chosen["n_components"])
        # the intercept is the weight of an input that is always 1
        inputs = np.hstack([data.features, np.ones((n, 1), dtype)])
        weights = np.ascontiguousarray(START * np.vstack([w, b]).T, dtype)
        labels = np.ascontiguousarray(labels, dtype)
        rng = np.random.default_rng(chosen["seed"])
        # which labels each row has besides the one that a step is of
        positives = None if data.sets is None else data.sets.member[data.sets.of_pair[data.extra["pair"]]]
        even = bool((data.weight == data.weight[0]).all())
        schedule = Schedule(int(self.n_epochs), float(self.learning_rate), None)
        curve = np.zeros(schedule.n_epochs)
        for epoch in range(schedule.n_epochs):
            order = rng.permutation(n) if even else rng.choice(n, size=n, p=data.normalized_weight)
            loss, _, _ = warp_epoch(
                inputs,
                data.y,
                weights,
                labels,
                learning_rate=schedule.rate(epoch, schedule.n_epochs),
                margin=float(self.margin),
                max_norm=float(self.max_norm),
                order=order,
                seed=int(rng.integers(2**31)),
                positives=positives,
            )
            curve[epoch] = loss / n
        return Learned(weights[:, :-1].T, weights[:, -1], labels, {"loss_curve_": curve})
