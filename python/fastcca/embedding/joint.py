"""Joint embedding of paired rows: two linear maps into one space, trained by a two-way large margin."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastcca._arguments.arrays import refuse_non_finite
from fastcca._arguments.parameters import (
    N_COMPONENTS,
    NOT_NEGATIVE,
    POSITIVE,
    check_n_components,
    choice,
    integer,
)
from fastcca._arguments.warn import warn
from fastcca._models.files import Schema
from fastcca._models.statistics import score_statistics
from fastcca._models.two_view import TwoViewTransformer, View
from fastcca.embedding._data import SCALING, InputScaling
from fastcca.embedding._docs import documented
from fastcca.embedding._training import (
    LOSSES,
    SIMILARITY,
    TRAINING,
    Objective,
    Parameters,
    Schedule,
    label_loss,
    minimise,
    seed_of,
)
from fastcca.errors import NumericalError
from fastcca.functional.moments import Moments
from fastcca.functional.solver import solve_moments
from fastcca.metrics import recall_at_k

__all__ = ["JointEmbedding"]

JOINT_LOSSES = [loss for loss in LOSSES if loss != "rank"]


@documented
class JointEmbedding(TwoViewTransformer):
    r"""Two views in one space, where a row is nearer to its partner than to any other row, by a margin.

    Linear maps :math:`z = W_1^\top f(x)` and :math:`t = W_2^\top g(y)` of the scaled views, trained on pairs

    .. math:: \min_{W_1, W_2} \tfrac1N \sum_i \sum_{j \ne i} \bigl[m + D(z_i, t_i) - D(z_i, t_j)\bigr]_+
       + \bigl[m + D(z_i, t_i) - D(z_j, t_i)\bigr]_+ + \lambda (\lVert W_1 \rVert^2 + \lVert W_2 \rVert^2),

    where j runs over the other pairs of a batch and D is the squared Euclidean distance or minus the cosine.
    The distances of the partners alone are minimal where every row is mapped to one point; the negatives
    prevent this collapse, as the constraints of CCA do there.

    Parameters
    ----------
    n_components : int, optional
        Dimensions of the space, at most min(p, q), which is the default. The rank of the data may leave
        fewer, see ``n_components_``; there is a warning where a number was given.
    loss : {"hinge", "hardest", "softmax"}, default="hinge"
        How the margin violations of a pair are reduced: their sum, as above; that of the hardest negative
        alone; or the log-loss of picking the partner, with -D as logits, which has no margin. The hardest
        negatives alone can collapse the embedding into one point, where the loss is twice the margin for any
        rows; the sum does not.
    {similarity}
    margin : float, default=1.0
        m > 0.
    reg : float, optional
        λ >= 0. By default adapted to the loss and the number of negatives in a batch, see ``reg_``.
    init_reg : float, default=0.1
        Ridge of the canonical correlation analysis that initialises the training, relative to the mean
        variance of each scaled view.
    n_epochs : int, default=60
        Passes over the pairs.
    {cosine_annealing}
    batch_size : int, default=256
        Pairs in a batch, each other's negatives.
    {scaling}
    {random_state}
    {n_threads}

    Attributes
    ----------
    x_weights_ : ndarray of shape (p, n_components_)
        The map of the scaled first view. The axes of the space are rotated so that the covariances of the
        components with those of the paired rows descend and the symmetric part of the others is 0.
    y_weights_ : ndarray of shape (q, n_components_)
        The map of the scaled second view.
    x_scaling_ : InputScaling
        Means and factors of the first view.
    y_scaling_ : InputScaling
        Means and factors of the second view.
    reg_ : float
        The λ used.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective, penalty included, epoch by epoch.
    singular_values_ : ndarray of shape (n_components_,)
        Covariance of each component with its partner in training, descending.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlation of each component with its partner in training.
    x_loadings_ : ndarray of shape (p, n_components_)
        Pearson correlation of each column of X with the scores of X; ``x_cross_loadings_`` with those of y.
    y_loadings_ : ndarray of shape (q, n_components_)
        Pearson correlation of each column of y with the scores of y; ``y_cross_loadings_`` with those of X.
    n_components_ : int
        Dimensions of the space.
    n_features_in_ : int
        p, as ``n_y_features_in_`` is q.
    feature_names_in_ : ndarray of str
        Column names of X, where it was a data frame with text as column names; ``y_feature_names_in_`` of y.

    {raises_in_fit}
    {raises_if_constant}

    See Also
    --------
    fastcca.CCA : Correlates the views instead, in closed form.
    fastcca.metrics.recall_at_k : How often the partner is among the k nearest rows.

    References
    ----------
    A. Frome et al., "DeViSE: a deep visual-semantic embedding model", NIPS 2013.

    F. Faghri, D. J. Fleet, J. R. Kiros and S. Fidler, "VSE++: improving visual-semantic embeddings with hard
    negatives", BMVC 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import JointEmbedding
    >>> rng = np.random.default_rng(0)
    >>> meaning = rng.normal(size=(300, 4))
    >>> X = meaning @ rng.normal(size=(4, 8)) + 0.1 * rng.normal(size=(300, 8))
    >>> Y = meaning @ rng.normal(size=(4, 6)) + 0.1 * rng.normal(size=(300, 6))
    >>> joint = JointEmbedding(n_components=4, random_state=0).fit(X[:200], Y[:200])
    >>> joint.score(X[200:], Y[200:]) > 0.5
    True
    """

    _schema = Schema(
        "JointEmbedding",
        fields="singular_values_ x_loadings_ y_loadings_ x_cross_loadings_ "
        "y_cross_loadings_ x_scaling_ y_scaling_ x_weights_ y_weights_ loss_curve_",
        optional="reg_",
    )
    _constraints = {  # noqa: RUF012
        **SCALING,
        **TRAINING,
        "n_components": N_COMPONENTS,
        "loss": choice(*JOINT_LOSSES),
        "similarity": SIMILARITY,
        "margin": POSITIVE,
        "reg": NOT_NEGATIVE.or_none,
        "init_reg": POSITIVE,
        "batch_size": integer(2),
    }

    def __init__(
        self,
        n_components: int | None = None,
        loss: Literal["hinge", "hardest", "softmax"] = "hinge",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        margin: float = 1.0,
        reg: float | None = None,
        init_reg: float = 0.1,
        n_epochs: int = 60,
        learning_rate: float = 0.03,
        batch_size: int = 256,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.similarity = similarity
        self.margin = margin
        self.reg = reg
        self.init_reg = init_reg
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.random_state = random_state
        self.n_threads = n_threads

    def fit(self, X: ArrayLike, y: ArrayLike) -> "JointEmbedding":
        """Fit to paired rows.

        Parameters
        ----------
        X : array_like of shape (n, p)
            First view.
        y : array_like of shape (n, q) or (n,)
            Second view; row i of y corresponds to row i of X.

        Returns
        -------
        JointEmbedding
            The fitted estimator.

        Raises
        ------
        ValueError
            See :class:`JointEmbedding`.
        """
        x, t, _ = self._check_pair(X, y, reset=True)
        n_components = check_n_components(self.n_components, x.shape[1], t.shape[1])
        for name, view in (("X", x), ("y", t)):
            refuse_non_finite(name, view)
        once = np.ones(len(x))
        self.x_scaling_ = InputScaling(self.whitening_exponent, self.normalize, name="X")
        self.y_scaling_ = InputScaling(self.whitening_exponent, self.normalize, name="y")
        f = self.x_scaling_.fit_checked(x, once)
        g = self.y_scaling_.fit_checked(t, once)
        minimum = minimise(
            self._objective(f, g),
            self._first_maps(f, g, n_components),
            len(f),
            Schedule.of(self),
            np.random.default_rng(seed_of(self.random_state)),
        )
        wx, wy = minimum.parameters["x"], minimum.parameters["y"]
        found = wx.shape[1]  # the rank of the views may leave fewer
        if self.n_components is not None and found < n_components:
            warn(f"n_components={n_components} is more than the rank of the data: {found} components")
        zx, zy = f @ wx, g @ wy
        axes, covariances = _common_axes(zx, zy, wx)
        self.x_weights_ = (wx @ axes).astype(x.dtype)
        self.y_weights_ = (wy @ axes).astype(t.dtype)
        self.n_components_ = found
        self.singular_values_ = covariances
        self.loss_curve_ = minimum.loss_curve
        self._set_training_statistics(x, t, np.hstack([zx @ axes, zy @ axes]))
        return self

    def _first_maps(
        self, f: NDArray[np.float64], g: NDArray[np.float64], n_components: int
    ) -> dict[str, NDArray[np.float64]]:
        """The maps of a ridge CCA, whose components are weighted by the roots of their correlations."""
        # the scaling makes the total variance of a view 1
        ridge = float(self.init_reg) / f.shape[1], float(self.init_reg) / g.shape[1]
        solution = solve_moments(Moments().update(f, g), n_components, ridge, self.n_threads)
        root = np.sqrt(solution.singular_values)
        return {"x": solution.x_weights * root, "y": solution.y_weights * root}

    def _objective(self, f: NDArray[np.float64], g: NDArray[np.float64]) -> Objective:
        options: dict[str, Any] = {
            "similarity": self.similarity,
            "margin": float(self.margin),
            "n_threads": self.n_threads,
        }
        negatives = min(len(f), int(self.batch_size)) - 1
        default = 0.004 * negatives if self.loss == "hinge" else 0.01
        self.reg_ = reg = default if self.reg is None else float(self.reg)

        def objective(p: Parameters, rows: NDArray[np.int64] | None) -> tuple[float, Parameters]:
            a, b = (f, g) if rows is None else (f[rows], g[rows])
            z, t, own = a @ p["x"], b @ p["y"], np.arange(len(a))
            value, on_z, on_t = label_loss(z, t, own, self.loss, **options)
            back, back_on_t, back_on_z = label_loss(t, z, own, self.loss, **options)
            # λ (‖W₁‖² + ‖W₂‖²), on every batch
            value += back + reg * float(np.vdot(p["x"], p["x"]) + np.vdot(p["y"], p["y"]))
            return value, {
                "x": a.T @ (on_z + back_on_z) + 2.0 * reg * p["x"],
                "y": b.T @ (on_t + back_on_t) + 2.0 * reg * p["y"],
            }

        return objective

    def _set_training_statistics(self, x: NDArray[Any], y: NDArray[Any], scores: NDArray[np.float64]) -> None:
        means = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
        variances = x.var(axis=0, ddof=1, dtype=np.float64), y.var(axis=0, ddof=1, dtype=np.float64)
        self.x_mean_, self.y_mean_ = means[0].astype(x.dtype), means[1].astype(y.dtype)
        centred = scores - scores.mean(axis=0)
        statistics = score_statistics(x, y, None, means, variances, lambda rows: centred[rows])
        self._set_statistics(statistics, (x.dtype, y.dtype))

    def _scores(self, view: View, data: NDArray[Any]) -> NDArray[Any]:
        refuse_non_finite(view, data)
        scaling, weights = (
            (self.x_scaling_, self.x_weights_) if view == "X" else (self.y_scaling_, self.y_weights_)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            scores: NDArray[Any] = (scaling.transform_checked(data) @ weights.astype(np.float64)).astype(
                data.dtype
            )
        if not np.isfinite(scores).all():
            raise NumericalError(
                f"the scores of {view} overflow {data.dtype}: rescale the data or use float64"
            )
        return scores

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Recall at 1: the fraction of rows whose partner is the nearest row of the other view, both ways.

        {rows_of_both_views}
        sample_weight : None
            Not supported: the rows are each other's negatives.

        Returns
        -------
        float
            The mean of both directions, between 0 and 1; it falls with the number of rows.

        Raises
        ------
        ValueError
            For rows that do not pair, or weights.
        """
        if sample_weight is not None:
            raise ValueError("sample_weight must be None: the rows are each other's negatives")
        zx, zy = self.transform_views(X, y)
        both = (recall_at_k(a, b, 1, similarity=self.similarity) for a, b in ((zx, zy), (zy, zx)))
        return float(sum(both)) / 2.0


def _common_axes(
    zx: NDArray[np.float64], zy: NDArray[np.float64], wx: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One rotation for both views, and the descending covariances of the components along its axes.

    The axes are eigenvectors of the symmetric part of the cross-covariance. Signs are such that the entry of
    largest magnitude of each column of ``wx`` is positive.
    """
    values, axes = np.linalg.eigh(zx.T @ zy + zy.T @ zx)
    axes = axes[:, ::-1]
    turned = wx @ axes
    signs = np.sign(turned[np.abs(turned).argmax(axis=0), np.arange(turned.shape[1])])
    return axes * np.where(signs == 0.0, 1.0, signs), 0.5 * values[::-1] / (len(zx) - 1)
