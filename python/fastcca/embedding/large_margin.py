"""Large-margin embedding: samples nearer to their own label than to any other, by a margin."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastcca._arguments.parameters import N_COMPONENTS, NOT_NEGATIVE, POSITIVE, choice
from fastcca._models.files import Schema
from fastcca.embedding._base import CLASS_WEIGHT, LabelEmbedding, Learned, dimensions
from fastcca.embedding._data import TrainingData
from fastcca.embedding._docs import documented
from fastcca.embedding._semantics import TAXONOMY, label_costs
from fastcca.embedding._training import (
    LOSSES,
    SIMILARITY,
    TRAINING,
    LabelLoss,
    Parameters,
    Schedule,
    label_loss,
    minimise,
    seed_of,
)
from fastcca.embedding.ridge import best_reg, ridge_start
from fastcca.taxonomy import Taxonomy

__all__ = ["LargeMarginEmbedding"]


@documented
class LargeMarginEmbedding(LabelEmbedding):
    r"""Samples nearer to their own label than to any other, by a margin: LME.

    A linear map :math:`\Psi(x) = W^\top f + b` of the scaled inputs and a point :math:`u_c` for each label,

    .. math:: \min_{W, b, U} \tfrac1N \sum_i \sum_{c \ne y_i}
       \bigl[m + D(\Psi_i, u_{y_i}) - D(\Psi_i, u_c)\bigr]_+ + \lambda_W \lVert W \rVert^2
       + \lambda_U \lVert U \rVert^2,

    where D is the squared Euclidean distance or minus the cosine.

    Parameters
    ----------
    {n_components}
    loss : {"hinge", "hardest", "rank", "softmax"}, default="hinge"
        How the margin violations of a sample are reduced. "hinge": their sum, as above. "hardest": the
        largest alone, that of the hardest negative. "rank": their sum times L(r) / r, where r is their number
        and L(r) = 1 + 1/2 + ... + 1/r, which gives less weight to samples of high rank. "softmax":
        log(1 + sum exp(D(Psi, u_y) - D(Psi, u_c))) instead, the log-loss of classes at negative distances as
        logits, which has no margin.
    {similarity}
    margin : float, optional
        m > 0, 1 by default and 0.2 for the cosine. For squared distances it sets the scale of the space.
    taxonomy : Taxonomy, optional
        A tree in which every class is a node: the margin of a label is then m times its path length to the
        sample's own label, relative to the mean path length. By default all margins are equal.
    reg, reg_labels : float, optional
        The factors λ_W and λ_U of the squared norms, >= 0. By default adapted to the loss and the number of
        classes, see ``reg_`` and ``reg_labels_``.
    n_epochs : int, default=200
        Passes over the rows.
    {cosine_annealing}
    {batch_size}
    {class_weight}
    {scaling}
    {temperature}
    {random_state}
    {n_threads}

    {classes_and_points}
    {map}
    {scaling_}
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective, penalties included, epoch by epoch.
    reg_, reg_labels_ : float
        The factors used.
    {fitted}

    {raises_without_node}
    NumericalError
        In ``fit``: the objective overflows. (It is a ValueError as well.)

    Notes
    -----
    Training is initialised with the one-hot ridge regression, scaled so that labels are some margins apart.

    References
    ----------
    S. Bengio, J. Weston and D. Grangier, "Label embedding trees for large multi-class tasks", NIPS 2010.

    S. J. Hwang and L. Sigal, "A unified semantic embedding: relating taxonomies and attributes",
    NIPS 2014.

    J. Weston, S. Bengio and N. Usunier, "WSABIE: scaling up to large vocabulary image annotation",
    IJCAI 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from fastcca.embedding import LargeMarginEmbedding
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog", "owl"], 30)
    >>> X = rng.normal(size=(90, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 30)]
    >>> model = LargeMarginEmbedding(loss="rank").fit(X, y)
    >>> model.predict(3 * np.eye(3, 5)).tolist()
    ['cat', 'dog', 'owl']
    >>> model.transform(X).shape, model.label_embedding_.shape
    ((90, 3), (3, 3))
    """

    _n_calibration_fits = 1
    _takes_label_sets = True

    _schema = Schema("LargeMarginEmbedding", fields="loss_curve_ reg_ reg_labels_")
    _constraints = {  # noqa: RUF012
        **LabelEmbedding._constraints,
        **TRAINING,
        "n_components": N_COMPONENTS,
        "loss": choice(*LOSSES),
        "similarity": SIMILARITY,
        "margin": POSITIVE.or_none,
        "taxonomy": TAXONOMY,
        "reg": NOT_NEGATIVE.or_none,
        "reg_labels": NOT_NEGATIVE.or_none,
        "class_weight": CLASS_WEIGHT,
    }

    def __init__(
        self,
        n_components: int | None = None,
        loss: LabelLoss = "hinge",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        margin: float | None = None,
        taxonomy: Taxonomy | None = None,
        reg: float | None = None,
        reg_labels: float | None = None,
        n_epochs: int = 200,
        learning_rate: float = 0.03,
        batch_size: int | None = 4096,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        whitening_exponent: float = 0.5,
        normalize: bool = True,
        temperature: float | None = None,
        random_state: int | np.random.RandomState | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.n_components = n_components
        self.loss = loss
        self.similarity = similarity
        self.margin = margin
        self.taxonomy = taxonomy
        self.reg = reg
        self.reg_labels = reg_labels
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.whitening_exponent = whitening_exponent
        self.normalize = normalize
        self.temperature = temperature
        self.random_state = random_state
        self.n_threads = n_threads

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        n_classes, euclidean = data.n_classes, self.similarity == "euclidean"
        margin: Any = self.margin if self.margin is not None else 1.0 if euclidean else 0.2
        if self.taxonomy is not None:
            margin = margin * label_costs(self.taxonomy, self.classes_)
            if data.sets is not None:  # of the pairs' labels
                margin = margin[data.sets.labels]
        default = _default_reg(self.loss, n_classes) * (1.0 if euclidean else 0.05)
        return {
            "n_components": dimensions(self.n_components, n_classes, data.features.shape[1]),
            "margin": margin,
            "reg": default if self.reg is None else float(self.reg),
            "reg_labels": 1e-3 if self.reg_labels is None else float(self.reg_labels),
            "ridge": best_reg(data),
            "seed": seed_of(self.random_state),
        }

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        reg, reg_labels = chosen["reg"], chosen["reg_labels"]
        options: dict[str, Any] = {
            "margin": chosen["margin"],
            "similarity": self.similarity,
            "n_threads": self.n_threads,
        }

        def objective(p: Parameters, rows: NDArray[np.int64] | None) -> tuple[float, Parameters]:
            f, y, weight = data.batch(rows)
            W, b, U = p["weights"], p["intercept"], p["labels"]
            value, on_z, on_u = label_loss(f @ W + b, U, y, self.loss, weight, data.table, **options)
            # λ_W ‖W‖² + λ_U ‖U‖², on every batch
            value += reg * float(np.vdot(W, W))
            value += reg_labels * float(np.vdot(U, U))
            return value, {
                "weights": f.T @ on_z + 2.0 * reg * W,
                "intercept": on_z.sum(axis=0),
                "labels": on_u + 2.0 * reg_labels * U,
            }

        names = ("weights", "intercept", "labels")
        # labels far enough apart for the margin where the regression predicts them by a third
        scale = 3.0 * np.sqrt(np.max(chosen["margin"])) if self.similarity == "euclidean" else 1.0
        first = ridge_start(data, chosen["ridge"], chosen["n_components"])
        dtype = data.features.dtype
        start = {name: (scale * a).astype(dtype) for name, a in zip(names, first, strict=True)}
        rng = np.random.default_rng(chosen["seed"])
        minimum = minimise(objective, start, len(data.y), Schedule.of(self), rng)
        return Learned(
            minimum.parameters["weights"],
            minimum.parameters["intercept"],
            minimum.parameters["labels"],
            {"loss_curve_": minimum.loss_curve, "reg_": reg, "reg_labels_": reg_labels},
        )


def _default_reg(loss: LabelLoss, n_classes: int) -> float:
    """A factor that grows with the number of classes as the loss of a sample does."""
    others = n_classes - 1
    if loss == "hinge":
        return 0.004 * others
    if loss == "rank":
        return 0.022 * float(np.sum(1.0 / np.arange(1, others + 1)))
    return 0.03 if loss == "hardest" else 0.01
