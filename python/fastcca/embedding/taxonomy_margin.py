"""Taxonomy embedding by a large margin: a convex program for the metric of the label space."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import FRACTION, NOT_NEGATIVE, POSITIVE_INTEGER, RIDGE
from fastcca._models.files import Schema
from fastcca.embedding._base import CLASS_WEIGHT, LabelEmbedding, Learned
from fastcca.embedding._data import TrainingData
from fastcca.embedding._docs import documented
from fastcca.embedding._semantics import TAXONOMY, label_costs
from fastcca.embedding.ridge import best_reg, ridge_path
from fastcca.errors import NumericalError
from fastcca.taxonomy import Taxonomy

__all__ = ["LargeMarginTaxonomyEmbedding"]

# Constraints violated by less than this fraction of the mean cost are penalised quadratically, so that the
# objective is smooth: it then differs from the hinge by at most half of that for each of them.
SMOOTH = 0.1
ROWS = 2**21  # entries of one chunk of samples times classes


@documented
class LargeMarginTaxonomyEmbedding(LabelEmbedding):
    r"""Labels placed so that the costs of confusions follow a taxonomy: LMTE, a convex program.

    Ridge regression maps each sample to x' in a space with one axis a class. A metric Q = P'P is
    learned there,

    .. math:: \min_{Q \succeq 0} \; (1-\mu) \sum_{i, a} \xi_{ia} + \mu \sum_i d_Q(e_{y_i}, x'_i)
       \quad\text{with}\quad d_Q(e_a, x'_i) - d_Q(e_{y_i}, x'_i) \ge C_{y_i a} - \xi_{ia},\ \xi \ge 0,

    where :math:`d_Q(u, v) = (u-v)^\top Q (u-v)`, sums over samples being means, and C the cost of taking one
    class for another: their path length in the taxonomy relative to the mean, or 1 for all without one.
    The samples are embedded as P x', the labels as P e.

    Parameters
    ----------
    taxonomy : Taxonomy, optional
        A tree in which every class is a node. By default flat: all costs are equal.
    mu : float, optional
        0 <= mu < 1: the weight of the distances to the own label against the margins. By default 0.1, halved
        until Q is not 0, see ``mu_``.
    reg : float, optional
        Ridge of the regression, relative to the total variance of the scaled inputs. By default three
        times the one with the least squared error on held-out rows, which leaves the metric less to overfit,
        see ``reg_``.
    max_iter : int, default=500
        Maximal number of iterations of the solver.
    tol : float, default=1e-4
        Tolerance of the relative change of Q in an iteration.
    {class_weight}
    {scaling}
    {temperature}

    {classes_}
    label_embedding_ : ndarray of shape (n_classes, d)
        The point of each label, P e; d is the rank of Q.
    metric_ : ndarray of shape (n_classes, n_classes)
        Q.
    {map}
    {scaling_}
    reg_, mu_ : float
        The ridge and the mu used.
    n_iter_ : int
        The number of iterations.
    objective_ : float
        The smallest value found.
    {fitted}

    {raises_without_node}
    NumericalError
        In ``fit``: if the ``mu`` given is so large that Q = 0 is best. (It is a ValueError as well.)

    Notes
    -----
    Accelerated projected gradient on the n_classes × n_classes matrix Q, each step projected by an
    eigendecomposition. Constraints violated by less than a tenth of the mean cost count quadratically, so
    that the objective has a gradient; it lies below the hinges by at most a twentieth for each.

    References
    ----------
    K. Q. Weinberger and O. Chapelle, "Large margin taxonomy embedding for document categorization",
    NIPS 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import LargeMarginTaxonomyEmbedding
    >>> from fastcca.taxonomy import Taxonomy
    >>> animals = Taxonomy.from_dict({"animal": {"feline": ["cat", "lion"], "bird": ["owl"]}})
    >>> rng = np.random.default_rng(0)
    >>> centres = {"cat": [2.0, 1.0], "lion": [2.0, -1.0], "owl": [-2.0, 0.0]}
    >>> y = np.repeat(list(centres), 30)
    >>> X = np.array([centres[label] for label in y]) + 0.3 * rng.normal(size=(90, 2))
    >>> model = LargeMarginTaxonomyEmbedding(animals).fit(X, y)
    >>> cat, lion, owl = model.label_embedding_
    >>> bool(np.linalg.norm(cat - lion) < np.linalg.norm(cat - owl))
    True
    """

    _n_calibration_fits = 1

    _schema = Schema("LargeMarginTaxonomyEmbedding", fields="metric_ reg_ mu_ n_iter_ objective_")
    _constraints = {  # noqa: RUF012
        **LabelEmbedding._constraints,
        "taxonomy": TAXONOMY,
        "mu": FRACTION.or_none,
        "reg": RIDGE.or_none,
        "max_iter": POSITIVE_INTEGER,
        "tol": NOT_NEGATIVE,
        "class_weight": CLASS_WEIGHT,
    }

    def __init__(
        self,
        taxonomy: Taxonomy | None = None,
        mu: float | None = None,
        reg: float | None = None,
        max_iter: int = 500,
        tol: float = 1e-4,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
    ) -> None:
        self.taxonomy = taxonomy
        self.mu = mu
        self.reg = reg
        self.max_iter = max_iter
        self.tol = tol
        self.class_weight = class_weight
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        n_classes = data.n_classes
        costs = 1.0 - np.eye(n_classes)
        if self.taxonomy is not None:
            costs = label_costs(self.taxonomy, self.classes_)
        if self.reg is not None:
            return {"costs": costs, "reg": float(self.reg)}
        return {"costs": costs, "reg": 3.0 * best_reg(data)}

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        weights, intercept = next(ridge_path(data, None, [chosen["reg"]]))
        mapped = data.features @ weights + intercept
        mu = 0.1 if self.mu is None else float(self.mu)
        while True:
            program = _Program(mapped, data.y, data.normalized_weight, chosen["costs"], mu)
            q, value, n_iter = program.solve(int(self.max_iter), float(self.tol))
            values, vectors = np.linalg.eigh(q)
            kept = values > 1e-9 * max(values[-1], 1.0)
            if kept.any():
                break
            if self.mu is not None or mu < 1e-9:
                raise NumericalError(
                    f"with mu={mu:g} the best metric is 0: nearness to the own label outweighs all margins. "
                    "A smaller mu helps"
                )
            mu *= 0.5
        # P = Λ^1/2 V', strongest direction first
        p = (vectors * np.sqrt(values.clip(0.0)))[:, kept][:, ::-1]
        found = {"metric_": q, "reg_": chosen["reg"], "mu_": mu, "n_iter_": n_iter, "objective_": value}
        return Learned(weights @ p, intercept @ p, p, found)


class _Program:
    """The objective over Q of samples mapped to the space of the classes."""

    def __init__(
        self,
        mapped: NDArray[np.float64],
        y: NDArray[np.int64],
        p: NDArray[np.float64],
        costs: NDArray[np.float64],
        mu: float,
    ) -> None:
        self.mapped = mapped.astype(np.float64, copy=False)
        self.y = y
        self.p = p
        self.costs = costs
        self.mu = mu

    def value_and_gradient(self, q: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        n_classes = len(q)
        value, gradient = 0.0, np.zeros_like(q)
        step = max(1, ROWS // n_classes)
        for start in range(0, len(self.y), step):
            part = slice(start, start + step)
            x, y, p = self.mapped[part], self.y[part], self.p[part]
            rows = np.arange(len(y))
            # d_ia = (e_a - x)'Q(e_a - x) = Q_aa - 2 (xQ)_a + xQx
            xq = x @ q
            d = q.diagonal() - 2.0 * xq + np.einsum("ij,ij->i", xq, x)[:, np.newaxis]
            own = d[rows, y]
            violation = self.costs[y] + own[:, np.newaxis] - d
            violation[rows, y] = 0.0
            # h(v) = v²/2δ up to δ, v - δ/2 beyond; h' rises from 0 to 1
            slope = (violation / SMOOTH).clip(0.0, 1.0)
            hinge = slope * (violation - 0.5 * SMOOTH * slope)
            value += (1.0 - self.mu) * float(p @ hinge.sum(axis=1)) + self.mu * float(p @ own)
            # g_ia = dL/dd_ia; the gradient is sum g_ia (e_a - x_i)(e_a - x_i)'
            g = -(1.0 - self.mu) * slope
            g[rows, y] = self.mu + (1.0 - self.mu) * slope.sum(axis=1)
            g *= p[:, np.newaxis]
            cross = g.T @ x
            gradient += np.diag(g.sum(axis=0)) - cross - cross.T + (x * g.sum(axis=1)[:, np.newaxis]).T @ x
        return value, 0.5 * (gradient + gradient.T)

    def solve(self, max_iter: int, tol: float) -> tuple[NDArray[np.float64], float, int]:
        """Accelerated projected gradient, restarted when it turns uphill: Q, its value, the steps."""
        n_classes = len(self.costs)
        # e - x' sums to 0: along (1, ..., 1) Q is of no account, and stays 0
        flat = np.eye(n_classes) - 1.0 / n_classes
        q = min(
            (scale * flat for scale in 4.0 ** np.arange(-1, 6)), key=lambda q: self.value_and_gradient(q)[0]
        )
        value, gradient = self.value_and_gradient(q)
        ahead, ahead_value, ahead_gradient = q, value, gradient
        momentum = 1.0
        step = float(np.linalg.norm(q)) / max(float(np.linalg.norm(gradient)), 1e-300)
        n_iter = 0
        while n_iter < max_iter:
            n_iter += 1
            while True:
                new = _positive_part(ahead - step * ahead_gradient)
                change = new - ahead
                new_value, new_gradient = self.value_and_gradient(new)
                # f(new) <= f(ahead) + <∇f, new - ahead> + ‖new - ahead‖² / 2 step, to rounding
                bound = ahead_value + np.vdot(ahead_gradient, change) + np.vdot(change, change) / (2.0 * step)
                if new_value <= bound + 1e-12 * abs(ahead_value) or step < 1e-300:
                    break
                step *= 0.5
            if new_value > value:  # uphill: forget the momentum
                if momentum == 1.0:
                    break
                ahead, ahead_value, ahead_gradient, momentum = q, value, gradient, 1.0
                continue
            moved = float(np.linalg.norm(new - q))
            last_momentum, momentum = momentum, 0.5 + np.sqrt(0.25 + momentum**2)
            ahead = new + (last_momentum - 1.0) / momentum * (new - q)
            q, value, gradient = new, new_value, new_gradient
            if moved <= tol * float(np.linalg.norm(q)):
                break
            ahead_value, ahead_gradient = self.value_and_gradient(ahead)
            step *= 1.2
        return q, value, n_iter


def _positive_part(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """The nearest positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(a)
    return (vectors * values.clip(0.0)) @ vectors.T  # type: ignore[no-any-return]
