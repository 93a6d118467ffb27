"""Large-margin embedding: samples nearer to their own label than to any other, by a margin."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from fastcca._arguments.parameters import check_count, check_n_threads
from fastcca._models.files import Schema
from fastcca.embedding._base import LabelEmbedding
from fastcca.embedding._checks import check_n_components, check_number
from fastcca.embedding._costs import label_costs
from fastcca.embedding._label_loss import FORMS, LabelLoss
from fastcca.embedding._ridge import best_reg, ridge_start
from fastcca.embedding._training import Parameters, minimise
from fastcca.embedding._training_data import Learned, TrainingData
from fastcca.functional.hinge import hinge_embedding_loss
from fastcca.taxonomy import Taxonomy

__all__ = ["LargeMarginEmbedding"]

# How the kernel is to treat the violators of a sample.


class LargeMarginEmbedding(LabelEmbedding):
    r"""Samples nearer to their own label than to any other, by a margin: LME.

    A linear map :math:`\Psi(x) = W^\top f + b` of the scaled inputs and a point :math:`u_c` for each label,

    .. math:: \min_{W, b, U} \tfrac1N \sum_i \sum_{c \ne y_i}
       \bigl[m + D(\Psi_i, u_{y_i}) - D(\Psi_i, u_c)\bigr]_+ + \lambda_W \lVert W \rVert^2
       + \lambda_U \lVert U \rVert^2,

    where D is the squared Euclidean distance or minus the cosine.

    Parameters
    ----------
    n_components : int, optional
        Dimensions d of the space, at most the number of classes. By default that number; of more than 100
        classes 100, or p + 1 if that is less (which loses nothing).
    loss : {"hinge", "worst", "rank", "softmax"}, default="hinge"
        What the labels that violate the margin of a sample count. "hinge": their sum, as above. "worst": the
        worst one alone. "rank": their sum times L(r) / r, where r is their number and
        L(r) = 1 + 1/2 + ... + 1/r, which cares less about samples that are far from right. "softmax":
        log(1 + sum exp(D(Psi, u_y) - D(Psi, u_c))) instead, the log-loss of classes at negative distances as
        logits, which knows no margin.
    similarity : {"euclidean", "cosine"}, default="euclidean"
        D: the squared Euclidean distance, or minus the cosine.
    margin : float, optional
        m > 0, 1 by default and 0.2 for the cosine. For squared distances it sets the scale of the space.
    taxonomy : Taxonomy, optional
        A tree in which every class is a node: the margin of a label is then m times the hops from the
        sample's own, over the mean of all hops. By default all margins are alike.
    weight_penalty, label_penalty : float, optional
        The factors λ of the squared norms, >= 0. By default ones that suit the loss and the number of
        classes; ``weight_penalty_`` and ``label_penalty_`` tell.
    n_epochs : int, default=200
        Passes over the rows.
    learning_rate : float, default=0.03
        First step of Adam, as a share of the size of the parameters; it falls to 0 along half a cosine.
    batch_size : int or None, default=4096
        More rows than that are shuffled into batches; with fewer, or None, each step takes all rows, and no
        randomness is left.
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
        from a further fit; a number spares that.
    random_state : int, RandomState or None, default=None
        Of the shuffled batches.
    n_threads : int, optional
        Threads to use; by default :func:`fastcca.get_num_threads`. Results do not depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    label_embedding_ : ndarray of shape (n_classes, d)
        The point of each label.
    weights_, intercept_ : ndarray of shape (p, d), (d,)
        ``Psi(x) = f @ weights_ + intercept_``, f the scaled inputs, ``scaling_.transform(X)``.
    scaling_ : InputScaling
        Means and factors of the inputs.
    loss_curve_ : ndarray of shape (n_epochs,)
        The objective, penalties included, epoch by epoch.
    weight_penalty_, label_penalty_ : float
        The factors used.
    temperature_ : float
        Of :meth:`predict_proba`.
    n_features_in_ : int
        p.
    feature_names_in_ : ndarray of str
        Column names of X, where it was a data frame with text as column names.

    Raises
    ------
    ValueError
        In ``fit``: parameters out of range, NaN or infinity, fewer than two classes, a class that the
        taxonomy lacks.
    NumericalError
        In ``fit``: the objective overflows. (It is a ValueError as well.)

    Notes
    -----
    Training starts at the one-hot ridge regression, in which its labels are some margins apart.

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

    _schema = Schema("LargeMarginEmbedding", fields="loss_curve_ weight_penalty_ label_penalty_")

    def __init__(
        self,
        n_components: int | None = None,
        loss: LabelLoss = "hinge",
        similarity: Literal["euclidean", "cosine"] = "euclidean",
        margin: float | None = None,
        taxonomy: Taxonomy | None = None,
        weight_penalty: float | None = None,
        label_penalty: float | None = None,
        n_epochs: int = 200,
        learning_rate: float = 0.03,
        batch_size: int | None = 4096,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        scale_power: float = 0.5,
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
        self.weight_penalty = weight_penalty
        self.label_penalty = label_penalty
        self.n_epochs = n_epochs
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.class_weight = class_weight
        self.scale_power = scale_power
        self.normalize = normalize
        self.temperature = temperature
        self.random_state = random_state
        self.n_threads = n_threads

    def _check_parameters(self) -> None:
        super()._check_parameters()
        for name, value, allowed in (
            ("loss", self.loss, tuple(FORMS)),
            ("similarity", self.similarity, ("euclidean", "cosine")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        if self.margin is not None:
            check_number("margin", self.margin, low=0.0, low_included=False)
        for name in ("weight_penalty", "label_penalty"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), low=0.0)
        check_count("n_epochs", self.n_epochs)
        check_number("learning_rate", self.learning_rate, low=0.0, low_included=False)
        if self.batch_size is not None:
            check_count("batch_size", self.batch_size)
        check_n_threads(self.n_threads)

    def _choose(self, data: TrainingData) -> dict[str, Any]:
        n_classes = data.n_classes
        margin: Any = (
            self.margin if self.margin is not None else 1.0 if self.similarity == "euclidean" else 0.2
        )
        if self.taxonomy is not None:
            margin = margin * label_costs(self.taxonomy, self.classes_)
        natural = _natural_penalty(self.loss, n_classes) * (1.0 if self.similarity == "euclidean" else 0.05)
        return {
            "n_components": check_n_components(self.n_components, n_classes, data.features.shape[1]),
            "margin": margin,
            "weight_penalty": natural if self.weight_penalty is None else float(self.weight_penalty),
            "label_penalty": 1e-3 if self.label_penalty is None else float(self.label_penalty),
            "reg": best_reg(data),
            "seed": int(check_random_state(self.random_state).randint(2**31 - 1)),
        }

    def _learn(self, data: TrainingData, **chosen: Any) -> Learned:
        dtype = data.features.dtype
        on_weights, on_labels = chosen["weight_penalty"], chosen["label_penalty"]

        def objective(p: Parameters, rows: NDArray[np.int64] | None) -> tuple[float, Parameters]:
            f, y, weight = data.batch(rows)
            value, on_z, on_u, _ = hinge_embedding_loss(
                f @ p["weights"] + p["intercept"],
                p["labels"],
                y,
                margin=chosen["margin"],
                similarity=self.similarity,
                sample_weight=weight,
                n_threads=self.n_threads,
                **FORMS[self.loss],
            )
            assert on_z is not None
            assert on_u is not None
            # λ ‖W‖² + λ ‖U‖², on every batch
            value += on_weights * float(np.vdot(p["weights"], p["weights"]))
            value += on_labels * float(np.vdot(p["labels"], p["labels"]))
            return value, {
                "weights": f.T @ on_z + 2.0 * on_weights * p["weights"],
                "intercept": on_z.sum(axis=0),
                "labels": on_u + 2.0 * on_labels * p["labels"],
            }

        names = ("weights", "intercept", "labels")
        # labels far enough apart for the margin where the regression predicts them by a third
        scale = 3.0 * np.sqrt(np.max(chosen["margin"])) if self.similarity == "euclidean" else 1.0
        first = ridge_start(data, chosen["reg"], chosen["n_components"])
        start = {name: (scale * a).astype(dtype) for name, a in zip(names, first, strict=True)}
        minimum = minimise(
            objective,
            start,
            n_rows=len(data.y),
            n_epochs=int(self.n_epochs),
            learning_rate=float(self.learning_rate),
            batch_size=self.batch_size,
            rng=np.random.default_rng(chosen["seed"]),
        )
        found = minimum.parameters
        return Learned(
            found["weights"],
            found["intercept"],
            found["labels"],
            {"loss_curve_": minimum.loss_curve, "weight_penalty_": on_weights, "label_penalty_": on_labels},
        )


def _natural_penalty(loss: str, n_classes: int) -> float:
    """A penalty that grows as the loss of a sample does with the number of its violators."""
    others = n_classes - 1
    if loss == "hinge":
        return 0.004 * others
    if loss == "rank":
        return 0.022 * float(np.sum(1.0 / np.arange(1, others + 1)))
    return 0.03 if loss == "worst" else 0.01
