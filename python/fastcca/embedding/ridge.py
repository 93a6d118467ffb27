"""Ridge regression to label vectors: the simplest label embedding, and the first values of the others.

No matrix of rows × classes or of classes × classes is formed for one-hot vectors: time and memory grow with
the number of classes as the weights do.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import RIDGE
from fastcca._models.files import Schema
from fastcca.embedding._base import CLASS_WEIGHT, LabelEmbedding, Learned
from fastcca.embedding._data import TrainingData
from fastcca.embedding._docs import documented
from fastcca.functional.linalg import truncated_svd

__all__ = ["REGS", "RidgeEmbedding", "best_reg", "ridge_path", "ridge_start"]

# relative to the total variance of the inputs, which the scaling makes 1
REGS = np.logspace(-5, 1, 13)

Floats = NDArray[np.float64]
Targets = Floats | None  # (n_classes, d), one vector a class; None: one-hot, the identity


@documented
class RidgeEmbedding(LabelEmbedding):
    r"""Ridge regression of one-hot label vectors on the inputs; the nearest label vector is the prediction.

    .. math:: \min_{W, b} \tfrac1N \sum_i \lVert W^\top f_i + b - e_{y_i} \rVert^2 + r \lVert W \rVert^2

    with the centred, scaled inputs f.

    Parameters
    ----------
    reg : float, optional
        Ridge r >= 0, relative to the total variance of the scaled inputs. By default the one of thirteen
        from 1e-5 to 10 with the least squared error on held-out rows, see ``reg_``.
    {class_weight}
    {scaling}
    {temperature}

    {classes_}
    label_embedding_ : ndarray of shape (n_classes, d)
        The point of each label: the identity.
    {map}
    {scaling_}
    reg_ : float
        The ridge used.
    {fitted}

    {raises_for_one_class}

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
    _constraints = {  # noqa: RUF012
        **LabelEmbedding._constraints,
        "reg": RIDGE.or_none,
        "class_weight": CLASS_WEIGHT,
    }

    def __init__(
        self,
        reg: float | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
    ) -> None:
        self.reg = reg
        self.class_weight = class_weight
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        return {"reg": float(self.reg) if self.reg is not None else best_reg(data)}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        reg = chosen["reg"]
        weights, intercept = next(ridge_path(data, None, [reg]))
        return Learned(weights, intercept, np.eye(data.n_classes), {"reg_": reg})


class _Regression:
    """The regression of ``targets[y]`` on the features, for every ridge r at once.

    With weights s that sum to 1, A = √s (F - mean) and B = √s (T - mean),
    W = (A'A + r)⁻¹ A'B = A' (AA' + r)⁻¹ B, by whichever matrix is smaller: its eigenvectors V serve all r,
    W = [A'] V diag(1 / (λ + r)) P.
    """

    def __init__(self, data: TrainingData, targets: Targets) -> None:
        root = np.sqrt(data.normalized_weight)[:, np.newaxis]
        self.f_mean = data.normalized_weight @ data.features
        self.t_mean = _vectors(np.bincount(data.y, data.normalized_weight, data.n_classes), targets)
        a = root * (data.features - self.f_mean)
        wide = len(a) < a.shape[1]
        self.values, vectors = np.linalg.eigh(a @ a.T if wide else a.T @ a)
        # V'B (wide) or V'A'B, from sums over the rows of each class
        left = root * vectors if wide else root * (a @ vectors)
        self.projected = _vectors(data.class_sums(left, weighted=False).T, targets)
        self.projected -= np.outer(left.sum(axis=0), self.t_mean)
        self.axes = a.T @ vectors if wide else vectors
        # directions that rounding alone fills carry no weight, without a ridge either
        self.keep = self.values > max(a.shape) * np.finfo(np.float64).eps * self.values[-1]

    def gain(self, reg: float) -> Floats:
        out = np.zeros_like(self.values)
        np.divide(1.0, self.values + reg, out=out, where=self.keep)
        return out

    def weights(self, reg: float) -> tuple[Floats, Floats]:
        weights = self.axes @ (self.gain(reg)[:, np.newaxis] * self.projected)
        return weights, self.t_mean - self.f_mean @ weights

    def errors(self, held_out: TrainingData, targets: Targets, regs: Iterable[float]) -> Floats:
        """Sum over rows of w ‖W'(f - mean) + mean - t‖² for each ridge.

        With h = V'[A](f - mean) and g the gains it is g'(PP' ∘ Σ w hh')g + 2 g·diag(P Σ w (mean - t) h')
        + Σ w ‖mean - t‖².
        """
        h = (held_out.features - self.f_mean) @ self.axes
        weighted = held_out.weight[:, np.newaxis] * h
        of_classes = np.bincount(held_out.y, held_out.weight, held_out.n_classes)
        square = (self.projected @ self.projected.T) * (weighted.T @ h)
        across = np.outer(weighted.sum(axis=0), self.t_mean)
        across -= _vectors(held_out.class_sums(h).T, targets)
        linear = np.einsum("ij,ij->i", self.projected, across)
        lengths = np.ones(len(of_classes)) if targets is None else np.einsum("ij,ij->i", targets, targets)
        total = of_classes.sum()
        constant = total * (self.t_mean @ self.t_mean) + of_classes @ lengths
        constant -= 2.0 * (_vectors(of_classes, targets) @ self.t_mean)
        gains = [self.gain(reg) for reg in regs]
        return np.array([g @ square @ g + 2.0 * (g @ linear) + constant for g in gains])


def _vectors(of_classes: NDArray[Any], targets: Targets) -> Floats:
    """What stands for the classes along the last axis, by their vectors."""
    return of_classes.astype(np.float64) if targets is None else of_classes @ targets


def ridge_path(
    data: TrainingData, targets: Targets, regs: Iterable[float]
) -> Iterator[tuple[Floats, Floats]]:
    """For each ridge the weights and intercept of the regression of ``targets[y]`` on the features."""
    regression = _Regression(data, targets)
    for reg in regs:
        yield regression.weights(reg)


def best_reg(data: TrainingData, targets: Targets = None) -> float:
    """The one of ``REGS`` with the least squared error on the rows that each fold holds out."""
    errors = np.zeros(len(REGS))
    for fold in range(int(data.folds.max()) + 1):
        out = data.folds == fold
        errors += _Regression(data.subset(~out), targets).errors(data.subset(out), targets, REGS)
    return float(REGS[errors.argmin()]) if errors.any() else float(np.sqrt(REGS[0] * REGS[-1]))


def ridge_start(data: TrainingData, reg: float, n_components: int) -> tuple[Floats, Floats, Floats]:
    """Map, intercept and labels of the one-hot regression, in the directions that tell the classes apart.

    With as many components as classes these are the regression's own; fewer are the leading principal
    directions of the classes' mean predictions.
    """
    weights, intercept = next(ridge_path(data, None, [reg]))
    if n_components == data.n_classes:
        return weights, intercept, np.eye(data.n_classes)
    means = data.class_means()
    axes = _right_vectors(means - means.mean(axis=0), weights, n_components)
    return weights @ axes, intercept @ axes, axes


def _right_vectors(left: Floats, right: Floats, k: int) -> Floats:
    """(C, k): the leading right singular vectors of ``left @ right``, (C, p) and (p, C), completed to k."""
    n_classes, p = left.shape
    if n_classes <= p:
        product = left @ right
        return (truncated_svd(product, k)[2] if n_classes > 4 * k else np.linalg.svd(product)[2][:k]).T
    # right' = Q R: left right = (left R') Q', whose right singular vectors are Q times those of left R'
    q = _orthonormal(right.T)
    r = q.T @ right.T
    turned = np.linalg.eigh(r @ (left.T @ left) @ r.T)[1][:, ::-1]
    vectors = q @ turned[:, :k]
    if vectors.shape[1] < k:  # beyond the rank any orthonormal directions do
        more = np.random.default_rng(0).standard_normal((n_classes, k - vectors.shape[1]))
        vectors = np.hstack([vectors, _orthonormal(more - vectors @ (vectors.T @ more))])
    return vectors  # type: ignore[no-any-return]


def _orthonormal(a: Floats) -> Floats:
    """An orthonormal basis of the columns of a tall matrix but for directions that rounding fills.

    a V Λ^(-1/2) from a'a = V Λ V', twice: what the square of the condition number takes from the first is
    regained by the second.
    """
    for _ in range(2):
        values, vectors = np.linalg.eigh(a.T @ a)
        keep = values > 1e-13 * values.max(initial=0.0)  # none of a matrix of zeros
        a = a @ (vectors[:, keep] / np.sqrt(values[keep]))
    return a
