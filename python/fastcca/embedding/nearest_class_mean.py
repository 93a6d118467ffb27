"""Nearest class mean: each label at the mean of its samples, in a given or a learned metric."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import N_COMPONENTS, NOT_NEGATIVE, at_most, choice
from fastcca._models.files import Schema
from fastcca.embedding._base import LabelEmbedding, Learned
from fastcca.embedding._data import TrainingData
from fastcca.embedding._docs import documented
from fastcca.embedding._training import TRAINING, Parameters, Schedule, label_loss, minimise, seed_of

__all__ = ["NearestClassMean"]


@documented
class NearestClassMean(LabelEmbedding):
    r"""Each label at the mean of its samples; the nearest mean is the prediction.

    With ``metric="learned"`` (NCM-ML) the distances are taken after a linear map of the scaled inputs f,
    which is trained to make the labels likely,

    .. math:: \max_W \tfrac1N \sum_i \log p(y_i \mid f_i) - \lambda \lVert W \rVert^2
       \quad\text{with}\quad
       p(c \mid f) \propto \exp\bigl(-\tfrac12 \lVert W^\top (f - \mu_c) \rVert^2\bigr).

    Parameters
    ----------
    metric : {"plain", "learned"}, default="plain"
        Distances of the scaled inputs as they are, or after a map learned for them.
    n_components : int, optional
        Columns of the learned map, at most the number of features p. By default min(p, 100).
    reg : float, default=3e-4
        λ >= 0.
    n_epochs : int, default=200
        Passes over the rows.
    {cosine_annealing}
    {batch_size}
    {scaling}
    {temperature}
    {random_state}
    {n_threads}

    {classes_}
    label_embedding_ : ndarray of shape (n_classes, d)
        The mean of each class in the space of :meth:`transform`.
    weights_, intercept_ : ndarray of shape (p, d) or None, (d,)
        ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``; None
        stands for the identity.
    {scaling_}
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective of the learned metric, penalty included, epoch by epoch.
    {fitted}

    {raises_for_one_class}

    Notes
    -----
    A class that was not in the training data needs no new fit: its point is the mean of
    :meth:`transform` of its samples.

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

    _schema = Schema("NearestClassMean", optional="loss_curve_")
    _constraints = {  # noqa: RUF012
        **LabelEmbedding._constraints,
        **TRAINING,
        "metric": choice("plain", "learned"),
        "n_components": N_COMPONENTS,
        "reg": NOT_NEGATIVE,
    }

    def __init__(
        self,
        metric: Literal["plain", "learned"] = "plain",
        n_components: int | None = None,
        reg: float = 3e-4,
        n_epochs: int = 200,
        learning_rate: float = 0.03,
        batch_size: int | None = 4096,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.metric = metric
        self.n_components = n_components
        self.reg = reg
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature
        self.random_state = random_state
        self.n_threads = n_threads

    @property
    def _n_calibration_fits(self) -> int:  # type: ignore[override]
        return 1 if self.metric == "learned" else 3

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        n_features = data.features.shape[1]
        k = min(n_features, 100)
        if self.n_components is not None:
            k = at_most(
                "n_components", self.n_components, n_features, f"the number of features, {n_features}"
            )
        return {"n_components": int(k), "seed": seed_of(self.random_state)}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        means = data.class_means()
        if self.metric == "plain":
            return Learned(None, np.zeros(means.shape[1]), means)
        dtype = data.features.dtype
        centres = means.astype(dtype)
        penalty = float(self.reg)

        # with W / √2 in the place of W the kernel's log-loss of minus squared distances is the one above
        def objective(p: Parameters, rows: NDArray[np.int64] | None) -> tuple[float, Parameters]:
            f, y, weight = data.batch(rows)
            W = p["weights"]
            value, on_z, on_u = label_loss(f @ W, centres @ W, y, "softmax", weight, n_threads=self.n_threads)
            value += 2.0 * penalty * float(np.vdot(W, W))
            return value, {"weights": f.T @ on_z + centres.T @ on_u + 4.0 * penalty * W}

        axes = _principal_axes(data, chosen["n_components"])
        starts: list[Parameters] = [{"weights": (scale * axes).astype(dtype)} for scale in (1.0, 3.0, 9.0)]
        start: Parameters = min(starts, key=lambda parameters: objective(parameters, None)[0])
        rng = np.random.default_rng(chosen["seed"])
        minimum = minimise(objective, start, len(data.y), Schedule.of(self), rng)
        weights = np.sqrt(2.0) * minimum.parameters["weights"].astype(np.float64)
        return Learned(
            weights, np.zeros(weights.shape[1]), means @ weights, {"loss_curve_": minimum.loss_curve}
        )


def _principal_axes(data: TrainingData, n_components: int) -> NDArray[np.float64]:
    """(p, n_components): the directions in which the inputs vary most, or the inputs' own axes for all p."""
    p = data.features.shape[1]
    if n_components == p:
        return np.eye(p)
    f = data.features - data.normalized_weight @ data.features
    _, vectors = np.linalg.eigh(f.T @ (data.normalized_weight[:, np.newaxis] * f))
    return vectors[:, ::-1][:, :n_components]
