"""Nearest class mean: each label at the mean of its samples, in a given or a learned metric."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import check_count, check_n_threads
from fastcca._models.files import Schema
from fastcca.embedding._base import LabelEmbedding
from fastcca.embedding._checks import check_number
from fastcca.embedding._training import Parameters, minimise
from fastcca.embedding._training_data import Learned, TrainingData
from fastcca.functional.hinge import hinge_embedding_loss

__all__ = ["NearestClassMean"]


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
    weight_penalty : float, default=3e-4
        λ >= 0.
    n_epochs : int, default=200
        Passes over the rows.
    learning_rate : float, default=0.03
        First step of Adam, as a share of the size of the map; it falls to 0 along half a cosine.
    batch_size : int or None, default=4096
        More rows than that are shuffled into batches; with fewer, or None, each step takes all rows, and no
        randomness is left.
    scale_power : float, default=0.5
        The centred columns of X are divided by their standard deviation to this power: 0 leaves them as they
        come, 1 gives them equal variance. A common factor of all columns changes nothing.
    normalize : bool, default=True
        Draw the rows towards one length, so that outliers do not lead the means.
    temperature : float, optional
        What distances are divided by to be read as probabilities. By default the one that suits rows held out
        from further fits (three, or one with a learned metric); a number spares those.
    random_state : int, RandomState or None, default=None
        Of the shuffled batches.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    label_embedding_ : ndarray of shape (n_classes, d)
        The mean of each class in the space of :meth:`transform`.
    weights_, intercept_ : ndarray of shape (p, d) or None, (d,)
        ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``; None
        stands for the identity.
    scaling_ : InputScaling
        Means and factors of the inputs.
    loss_curve_ : ndarray of shape (n_epochs,)
        What the learning of the metric minimised, penalty included, epoch by epoch.
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
    A class that was not there in training needs no new fit: its place is the mean of
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

    def __init__(
        self,
        metric: Literal["plain", "learned"] = "plain",
        n_components: int | None = None,
        weight_penalty: float = 3e-4,
        n_epochs: int = 200,
        learning_rate: float = 0.03,
        batch_size: int | None = 4096,
        scale_power: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.metric = metric
        self.n_components = n_components
        self.weight_penalty = weight_penalty
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature
        self.random_state = random_state
        self.n_threads = n_threads

    @property
    def _n_calibration_fits(self) -> int:  # type: ignore[override]
        return 1 if self.metric == "learned" else 3

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.metric not in ("plain", "learned"):
            raise ValueError(f"metric must be one of 'plain', 'learned', got {self.metric!r}")
        check_number("weight_penalty", self.weight_penalty, low=0.0)
        check_count("n_epochs", self.n_epochs)
        check_number("learning_rate", self.learning_rate, low=0.0, low_included=False)
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
        check_n_threads(self.n_threads)

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        n_features = data.features.shape[1]
        n_components = min(n_features, 100)
        if self.n_components is not None:
            n_components = check_count("n_components", self.n_components)
            if n_components > n_features:
                raise ValueError(
                    f"n_components={n_components} is more than the number of features, {n_features}"
                )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return {"n_components": n_components, "seed": seed}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        means = data.class_means()
        if self.metric == "plain":
            return Learned(None, np.zeros(means.shape[1]), means)
        dtype = data.features.dtype
        centres = means.astype(dtype)
        penalty = float(self.weight_penalty)

        # with W / √2 in the place of W the kernel's log-loss of minus squared distances is the one above
        def objective(p: Parameters, rows: NDArray[np.int64] | None) -> tuple[float, Parameters]:
            f, y, weight = data.batch(rows)
            value, on_z, on_u, _ = hinge_embedding_loss(
                f @ p["weights"],
                centres @ p["weights"],
                y,
                loss="softmax",
                sample_weight=weight,
                n_threads=self.n_threads,
            )
            assert on_z is not None
            assert on_u is not None
            value += 2.0 * penalty * float(np.vdot(p["weights"], p["weights"]))
            return value, {"weights": f.T @ on_z + centres.T @ on_u + 4.0 * penalty * p["weights"]}

        axes = _principal_axes(data, chosen["n_components"])
        starts: list[Parameters] = [{"weights": (scale * axes).astype(dtype)} for scale in (1.0, 3.0, 9.0)]
        start: Parameters = min(starts, key=lambda parameters: objective(parameters, None)[0])
        minimum = minimise(
            objective,
            start,
            n_rows=len(data.y),
            n_epochs=int(self.n_epochs),
            learning_rate=float(self.learning_rate),
            batch_size=self.batch_size,
            rng=np.random.default_rng(chosen["seed"]),
        )
        weights = np.sqrt(2.0) * minimum.parameters["weights"].astype(np.float64)
        return Learned(
            weights, np.zeros(weights.shape[1]), means @ weights, {"loss_curve_": minimum.loss_curve}
        )


def _principal_axes(data: TrainingData, n_components: int) -> NDArray[np.float64]:
    """(p, n_components): the directions in which the inputs vary most, or the inputs' own axes for all p."""
    p = data.features.shape[1]
    if n_components == p:
        return np.eye(p)
    f = data.features - data.share @ data.features
    _, vectors = np.linalg.eigh(f.T @ (data.share[:, np.newaxis] * f))
    return vectors[:, ::-1][:, :n_components]
