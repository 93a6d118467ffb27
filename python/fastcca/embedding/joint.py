"""Joint embedding of paired rows: two linear maps into one space, trained by a two-way large margin."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import check_count, check_n_components, check_n_threads, refuse_non_finite
from fastcca._arguments.warn import warn
from fastcca._models.files import Schema
from fastcca._models.statistics import score_statistics
from fastcca._models.two_view import TwoViewTransformer, View
from fastcca.embedding._checks import check_number
from fastcca.embedding._label_loss import FORMS as LABEL_FORMS
from fastcca.embedding._preprocessing import InputScaling
from fastcca.embedding._training import Parameters, minimise
from fastcca.errors import NumericalError
from fastcca.functional.hinge import hinge_embedding_loss
from fastcca.functional.moments import Moments
from fastcca.functional.solver import solve_moments
from fastcca.metrics import recall_at_k

__all__ = ["JointEmbedding"]

FORMS = {name: form for name, form in LABEL_FORMS.items() if name != "rank"}


class JointEmbedding(TwoViewTransformer):
    r"""Two views in one space, where the partner of a row is nearer than any other row, by a margin.

    Linear maps :math:`z = W_1^\top f(x)` and :math:`t = W_2^\top g(y)` of the scaled views, trained on pairs

    .. math:: \min_{W_1, W_2} \tfrac1N \sum_i \sum_{j \ne i} \bigl[m + D(z_i, t_i) - D(z_i, t_j)\bigr]_+
       + \bigl[m + D(z_i, t_i) - D(z_j, t_i)\bigr]_+ + \lambda (\lVert W_1 \rVert^2 + \lVert W_2 \rVert^2),

    where j runs over the other pairs of a batch and D is the squared Euclidean distance or minus the cosine.
    The distance of the partners alone would be least where every row is mapped to one point; the other rows
    keep the space from collapsing, as the constraints of CCA do there.

    Parameters
    ----------
    n_components : int, optional
        Dimensions of the space, at most min(p, q), which is the default. The rank of the data may leave
        fewer; ``n_components_`` tells, and a warning does where a number was given.
    loss : {"hinge", "worst", "softmax"}, default="hinge"
        What the rows that violate the margin of a pair count: their sum, as above; the worst one alone; or
        the log-loss of picking the partner, with -D as logits, which knows no margin. The worst row alone can
        draw all rows to one point, where it costs twice the margin whatever the rows; the sum does not.
    similarity : {"euclidean", "cosine"}, default="euclidean"
        D: the squared Euclidean distance, or minus the cosine.
    margin : float, default=1.0
        m > 0.
    weight_penalty : float, optional
        λ >= 0. By default one that suits the loss and the number of other pairs in a batch;
        ``weight_penalty_`` tells.
    reg : float, default=0.1
        Ridge of the canonical correlation analysis that training starts from, as a share of the mean variance
        of each scaled view.
    n_epochs : int, default=60
        Passes over the pairs.
    learning_rate : float, default=0.03
        First step of Adam, as a share of the size of the maps; it falls to 0 along half a cosine.
    batch_size : int, default=256
        Pairs in a batch, each other's negatives.
    scale_power : float, default=0.5
        The centred columns of each view are divided by their standard deviation to this power: 0 leaves them
        as they come, 1 gives them equal variance. A common factor of all columns changes nothing.
    normalize : bool, default=True
        Draw the rows towards one length.
    random_state : int, RandomState or None, default=None
        Of the shuffled batches; there are none where all pairs fit into one.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    x_weights_ : ndarray of shape (p, n_components_)
        The map of the scaled first view. The axes of the common space are turned so that the
        covariances of the components with their partners fall and other pairs do not covary on balance.
    y_weights_ : ndarray of shape (q, n_components_)
        The map of the scaled second view.
    x_scaling_ : InputScaling
        Means and factors of the first view.
    y_scaling_ : InputScaling
        Means and factors of the second view.
    weight_penalty_ : float
        The λ used.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective, penalty included, epoch by epoch.
    singular_values_ : ndarray of shape (n_components_,)
        Covariance of each component with its partner in training, falling.
    canonical_correlations_ : ndarray of shape (n_components_,)
        Pearson correlation of each component with its partner in training.
    total_correlation_ : float
        Their sum.
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

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, views that are not numbers or do not pair, NaN or infinity.
    NumericalError
        In ``fit``: every column of a view is constant. (It is a ValueError as well.)

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
        fields="x_scaling_ y_scaling_ x_weights_ y_weights_ loss_curve_",
        optional="weight_penalty_",
    )

    def __init__(
        self,
        n_components: int | None = None,
        loss: Literal["hinge", "worst", "softmax"] = "hinge",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        margin: float = 1.0,
        weight_penalty: float | None = None,
        reg: float = 0.1,
        n_epochs: int = 60,
        learning_rate: float = 0.03,
        batch_size: int = 256,
        scale_power: float = 0.5,
        normalize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.similarity = similarity
        self.margin = margin
        self.weight_penalty = weight_penalty
        self.reg = reg
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.scale_power = scale_power
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
            Second view, row by row the partners of ``X``.

        Returns
        -------
        JointEmbedding
            The fitted estimator.

        Raises
        ------
        ValueError
            See :class:`JointEmbedding`.
        """
        self._check_parameters()
        x, t, _ = self._check_pair(X, y, reset=True)
        n_components = check_n_components(self.n_components, x.shape[1], t.shape[1])
        for name, view in (("X", x), ("y", t)):
            refuse_non_finite(name, view)
        even = np.ones(len(x))
        self.x_scaling_ = InputScaling(self.scale_power, self.normalize, name="X")
        self.y_scaling_ = InputScaling(self.scale_power, self.normalize, name="y")
        f = self.x_scaling_.fit_transform(x, even)
        g = self.y_scaling_.fit_transform(t, even)
        weights = self._train(f, g, n_components)
        found = weights[0].shape[1]  # the rank of the views may leave fewer
        if self.n_components is not None and found < n_components:
            warn(f"n_components={n_components} is more than the rank of the data: {found} components")
        zx, zy = f @ weights[0], g @ weights[1]
        # one rotation for both: axes along which the views covary, the most first; a sign for each
        values, axes = np.linalg.eigh(zx.T @ zy + zy.T @ zx)
        axes = axes[:, ::-1]
        wx = weights[0] @ axes
        signs = np.sign(wx[np.abs(wx).argmax(axis=0), np.arange(found)])
        axes = axes * np.where(signs == 0.0, 1.0, signs)
        self.x_weights_ = (weights[0] @ axes).astype(x.dtype)
        self.y_weights_ = (weights[1] @ axes).astype(t.dtype)
        self.n_components_ = found
        self.singular_values_ = 0.5 * values[::-1] / (len(x) - 1)
        self._set_training_statistics(x, t, np.hstack([zx @ axes, zy @ axes]))
        return self

    def _check_parameters(self) -> None:
        for name, value, allowed in (
            ("loss", self.loss, tuple(FORMS)),
            ("similarity", self.similarity, ("euclidean", "cosine")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        check_number("margin", self.margin, low=0.0, low_included=False)
        if self.weight_penalty is not None:
            check_number("weight_penalty", self.weight_penalty, low=0.0)
        check_number("reg", self.reg, low=0.0, low_included=False)
        check_number("scale_power", self.scale_power, low=0.0, high=1.0)
        check_number("learning_rate", self.learning_rate, low=0.0, low_included=False)
        check_count("n_epochs", self.n_epochs)
        check_count("batch_size", self.batch_size, low=2)
        if not isinstance(self.normalize, (bool, np.bool_)):
            raise ValueError(f"normalize must be True or False, got {self.normalize!r}")
        check_n_threads(self.n_threads)

    def _train(
        self, f: NDArray[np.float64], g: NDArray[np.float64], n_components: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The maps, trained from those of a ridge CCA whose components are weighted by their correlation."""
        options: dict[str, Any] = {
            "similarity": self.similarity,
            "margin": float(self.margin),
            "n_threads": self.n_threads,
            **FORMS[self.loss],
        }
        others = min(len(f), int(self.batch_size)) - 1
        natural = 0.004 * others if self.loss == "hinge" else 0.01
        penalty = natural if self.weight_penalty is None else float(self.weight_penalty)
        self.weight_penalty_ = penalty

        def objective(p: Parameters, rows: NDArray[np.int64] | None) -> tuple[float, Parameters]:
            a, b = (f, g) if rows is None else (f[rows], g[rows])
            z, t, own = a @ p["x"], b @ p["y"], np.arange(len(a))
            value, on_z, on_t, _ = hinge_embedding_loss(z, t, own, **options)
            back, back_on_t, back_on_z, _ = hinge_embedding_loss(t, z, own, **options)
            assert on_z is not None
            assert on_t is not None
            value += back + penalty * float(np.vdot(p["x"], p["x"]) + np.vdot(p["y"], p["y"]))
            return value, {
                "x": a.T @ (on_z + back_on_z) + 2.0 * penalty * p["x"],
                "y": b.T @ (on_t + back_on_t) + 2.0 * penalty * p["y"],
            }

        # the scaling makes the total variance of a view 1
        ridge = float(self.reg) / f.shape[1], float(self.reg) / g.shape[1]
        solution = solve_moments(Moments().update(f, g), n_components, ridge, self.n_threads)
        root = np.sqrt(solution.singular_values)
        start = {"x": solution.x_weights * root, "y": solution.y_weights * root}
        minimum = minimise(
            objective,
            start,
            n_rows=len(f),
            n_epochs=int(self.n_epochs),
            learning_rate=float(self.learning_rate),
            batch_size=int(self.batch_size),
            rng=np.random.default_rng(check_random_state(self.random_state).randint(2**31 - 1)),
        )
        self.loss_curve_ = minimum.loss_curve
        return minimum.parameters["x"], minimum.parameters["y"]

    def _set_training_statistics(self, x: NDArray[Any], y: NDArray[Any], scores: NDArray[np.float64]) -> None:
        means = x.mean(axis=0, dtype=np.float64), y.mean(axis=0, dtype=np.float64)
        variances = x.var(axis=0, ddof=1, dtype=np.float64), y.var(axis=0, ddof=1, dtype=np.float64)
        self.x_mean_, self.y_mean_ = means[0].astype(x.dtype), means[1].astype(y.dtype)
        centred = scores - scores.mean(axis=0)
        statistics = score_statistics(x, y, None, means, variances, lambda rows: centred[rows])
        self._set_statistics(statistics, (x.dtype, y.dtype))
        self.total_correlation_ = float(self.canonical_correlations_.sum())

    def _scores(self, view: View, data: NDArray[Any]) -> NDArray[Any]:
        refuse_non_finite(view, data)
        scaling, weights = (
            (self.x_scaling_, self.x_weights_) if view == "X" else (self.y_scaling_, self.y_weights_)
        )
        with np.errstate(over="ignore", invalid="ignore"):
            scores: NDArray[Any] = (scaling.transform(data) @ weights.astype(np.float64)).astype(data.dtype)
        if not np.isfinite(scores).all():
            raise NumericalError(
                f"the scores of {view} overflow {data.dtype}: rescale the data or use float64"
            )
        return scores

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Share of the rows whose partner is the nearest row of the other view, the mean of both ways.

        Parameters
        ----------
        X : array_like of shape (n, p)
            Rows of the first view.
        y : array_like of shape (n, q)
            The paired rows of the second view.
        sample_weight : None
            Not supported: the rows are each other's alternatives.

        Returns
        -------
        float
            Recall at 1: between 0 and 1, the smaller the more rows there are to choose from.

        Raises
        ------
        ValueError
            For rows that do not pair, or weights.
        """
        if sample_weight is not None:
            raise ValueError("sample_weight must be None: the rows are each other's alternatives")
        zx, zy = self.transform_views(X, y)
        both = (recall_at_k(a, b, 1, similarity=self.similarity) for a, b in ((zx, zy), (zy, zx)))
        return float(sum(both)) / 2.0
