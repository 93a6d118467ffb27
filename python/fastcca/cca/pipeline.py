"""Preprocessing of both views with a model of them as one estimator: :class:`TwoViewPipeline`."""

import contextlib
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, get_tags
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.validation import _num_samples, check_is_fitted, has_fit_parameter, validate_data

from fastcca._arguments.arrays import as_matrix, as_weights, check_same_rows, column_names
from fastcca._arguments.parameters import RIDGES, anything
from fastcca._models.docs import documented
from fastcca._models.files import SavedModel, Schema
from fastcca._models.report import Report
from fastcca.cca.linear import CCA
from fastcca.cca.model_selection import (
    CCACV,
    FEWEST,
    KernelCCACV,
    pools,
    row_splits,
    search_results,
    warn_of_end,
)
from fastcca.cca.pls import PLSRegressionCV
from fastcca.cca.sparse import SparseCCACV

__all__ = ["TwoViewPipeline"]

Steps = list[tuple[str, Any]]
SEARCHES = (CCACV, KernelCCACV, SparseCCACV, PLSRegressionCV)
SIDES = ("x", "y")


def named_steps(side: str, steps: Any) -> Steps:
    """The steps of a view as pairs of name and transformer; names as ``make_pipeline`` gives them."""
    if steps is None:
        return []
    if isinstance(steps, Pipeline):
        return [(str(name), step) for name, step in steps.steps]
    if hasattr(steps, "fit") or isinstance(steps, str):
        steps = [steps]
    if not isinstance(steps, Sequence):
        raise ValueError(f"{side} must be a transformer, a sequence of them or a Pipeline, got {steps!r}")
    kinds = [type(step).__name__.lower() for step in steps]
    found: Steps = []
    for i, (step, kind) in enumerate(zip(steps, kinds, strict=True)):
        if isinstance(step, tuple) and len(step) == 2 and isinstance(step[0], str):
            found.append(step)
        else:
            number = f"-{kinds[: i + 1].count(kind)}" if kinds.count(kind) > 1 else ""
            found.append((kind + number, step))
    names = [name for name, _ in found]
    for i, (name, step) in enumerate(found):
        if "__" in name or name in names[:i]:
            raise ValueError(f"the names of the steps of {side} must differ and hold no '__', got {names}")
        if not (_passes(step) or (hasattr(step, "fit") and hasattr(step, "transform"))):
            raise TypeError(
                f"the step {name!r} of {side} must have fit and transform or be 'passthrough', got {step!r}"
            )
    return found


def _passes(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


# Steps judge their data themselves; scikit-learn's look for infinity would warn before it refuses it.
_quiet = np.errstate(over="ignore", invalid="ignore")


@_quiet
def fitted_steps(steps: Steps, data: Any, target: Any, weights: Any) -> tuple[Steps, Any]:
    """Copies fitted to these rows one after the other, and what they make of them."""
    fitted: Steps = []
    for name, step in steps:
        if _passes(step):
            continue
        step = clone(step)
        options = {} if weights is None else {"sample_weight": weights}
        if not has_fit_parameter(step, "sample_weight"):
            options = {}
        if hasattr(step, "fit_transform"):
            data = step.fit_transform(data, target, **options)
        else:
            data = step.fit(data, target, **options).transform(data)
        fitted.append((name, step))
    return fitted, data


@_quiet
def transformed(steps: Steps, data: Any) -> Any:
    for _, step in steps:
        data = step.transform(data)
    return data


@documented
class TwoViewPipeline(
    SavedModel,
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Steps of preprocessing for each of two views, and a model of what they make of them, as one estimator.

    Cross-validation of it fits every step to the training rows alone, also the one within a
    :class:`CCACV` that is its model: PCA to a few dozen dimensions before CCA, say, sees no row that is held
    out.

    Parameters
    ----------
    x, y : transformer, sequence of transformers or of (name, transformer), or Pipeline, optional
        The steps of each view, one after the other, by scikit-learn's interface: ``fit`` and ``transform``.
        Steps without a name are called after their class in lower case, ``"pca"``, as by
        :func:`sklearn.pipeline.make_pipeline`; ``"passthrough"`` does nothing. What is given stays unfitted.
        A step that takes a target is given the other view.
    model : estimator of two views, optional
        By default :class:`CCA`. If it is one that cross-validates, :class:`CCACV`, :class:`KernelCCACV`,
        :class:`SparseCCACV` or :class:`PLSRegressionCV`, the steps are fitted anew to the training rows of
        each of its splits, and ``model_`` is the model with the parameters chosen.

    Attributes
    ----------
    x_steps_, y_steps_ : list of (str, transformer)
        The fitted steps.
    model_ : estimator
        Fitted to what the steps make of the views.
    x_loadings_, y_loadings_ : ndarray of shape (p, n_components_), (q, n_components_)
        Pearson correlations of the columns of a view, as they came, with its scores; over the rows where a
        column has a value. Not of views with columns that are not numbers.
    canonical_correlations_, n_components_ :
        Those of ``model_``.
    best_params_, best_score_, best_index_, cv_results_, n_splits_ :
        As in the model that cross-validates, where it is one; default grids are those of all rows.
    n_features_in_ : int
        Columns of X.
    feature_names_in_, y_feature_names_in_ : ndarray of str
        Column names of the views, where they were data frames with text as column names.

    Raises
    ------
    TypeError
        In ``fit``: a step that is no transformer, a model without ``transform_y``.
    ValueError
        In ``fit``: rows that do not pair, and what steps and model refuse.

    Notes
    -----
    Parameters of steps and model are reached by their names: ``x__pca__n_components``, ``model__reg``;
    ``x__pca`` replaces a step.

    :meth:`save` stores steps of scikit-learn in the format of ``skops``, which must be installed, without
    pickle, and :func:`fastcca.load` makes nothing of a file but types that skops trusts: scikit-learn's own.
    scikit-learn reads what another version of it wrote at its own risk, and warns. For steps with code of
    your own, :class:`~sklearn.preprocessing.FunctionTransformer` of a function say, use joblib.

    See Also
    --------
    sklearn.pipeline.Pipeline : Steps for the first view alone.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.preprocessing import StandardScaler
    >>> from fastcca import CCA, TwoViewPipeline
    >>> from fastcca.datasets import make_two_views
    >>> views = make_two_views(300, (20, 15), (0.9, 0.6), random_state=0)
    >>> model = TwoViewPipeline(x=[StandardScaler(), PCA(10)], y=[PCA(10)], model=CCA(2))
    >>> model.fit(views.X, views.y).transform(views.X).shape
    (300, 2)
    >>> grid = {"x__pca__n_components": [5, 10, 20], "model__reg": [0.0, 1.0]}
    >>> GridSearchCV(model, grid, cv=3).fit(views.X, views.y).best_params_["x__pca__n_components"]
    20
    """

    _schema = Schema(
        "TwoViewPipeline",
        fields="model_ x_steps_ y_steps_ n_features_in_ y_is_vector=_y_is_vector",
        optional="feature_names_in_ y_feature_names_in_ x_loadings_ y_loadings_ best_params_ best_score_ "
        "best_index_ cv_results_ n_splits_",
    )
    _constraints = {  # noqa: RUF012
        "x": anything("transformers"),  # checked by fit
        "y": anything("transformers"),
        "model": anything("an estimator of two views"),
    }

    model_: Any
    x_steps_: Steps
    y_steps_: Steps
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]
    y_feature_names_in_: NDArray[np.object_]
    x_loadings_: NDArray[Any]
    y_loadings_: NDArray[Any]
    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    cv_results_: dict[str, Any]
    n_splits_: int
    _y_is_vector: bool

    def __init__(self, x: Any = None, y: Any = None, model: Any = None) -> None:
        self.x = x
        self.y = y
        self.model = model

    # ---- parameters

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters, with ``deep`` also the steps and the parameters of steps and model.

        Parameters
        ----------
        deep : bool, default=True
            Whether to give those of steps and model too.

        Returns
        -------
        dict
        """
        params: dict[str, Any] = {"x": self.x, "y": self.y, "model": self.model}
        if not deep:
            return params
        for side in SIDES:
            for name, step in named_steps(side, params[side]):
                params[f"{side}__{name}"] = step
                params.update(_parameters(step, f"{side}__{name}__"))
        params.update(_parameters(self.model, "model__"))
        return params

    def set_params(self, **params: Any) -> "TwoViewPipeline":
        """Set parameters, those of steps and model by their names.

        Parameters
        ----------
        **params
            ``x``, ``y``, ``model``; ``x__pca`` for a step; ``x__pca__n_components`` for a parameter of it;
            ``model__reg`` for one of the model.

        Returns
        -------
        TwoViewPipeline
            Itself.

        Raises
        ------
        ValueError
            For a name that there is not.
        """
        for name in ("x", "y", "model"):
            if name in params:
                setattr(self, name, params.pop(name))
        nested: dict[tuple[str, str], dict[str, Any]] = defaultdict(dict)
        for key, value in params.items():
            side, _, rest = key.partition("__")
            name, _, parameter = rest.partition("__")
            if side == "model" and rest:
                nested["model", ""][rest] = value
                continue
            known = dict(named_steps(side, getattr(self, side))) if side in SIDES else {}
            if name not in known:
                raise ValueError(
                    f"Invalid parameter {key!r} for estimator {type(self).__name__}. Valid parameters are: "
                    f"{sorted(self.get_params())!r}."
                )
            if parameter:
                nested[side, name][parameter] = value
            else:
                self._replace(side, name, value)
        for (side, name), values in nested.items():
            owner = self.model if side == "model" else dict(named_steps(side, getattr(self, side)))[name]
            if not hasattr(owner, "set_params"):
                raise ValueError(f"{side if side == 'model' else name} is {owner!r}, which has no parameters")
            owner.set_params(**values)
        return self

    def _replace(self, side: str, name: str, step: Any) -> None:
        steps = getattr(self, side)
        if isinstance(steps, Pipeline):
            steps.set_params(**{name: step})
            return
        setattr(self, side, [(n, step if n == name else one) for n, one in named_steps(side, steps)])

    # ---- the fit

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> "TwoViewPipeline":
        """Fit the steps of each view and the model.

        Parameters
        ----------
        X : array_like or sparse matrix of shape (n, p), or data frame
            First view, as its first step takes it: with missing values before an imputer, say.
        y : array_like or sparse matrix of shape (n, q), or data frame, or array_like of shape (n,)
            Second view: row i belongs to row i of ``X``.
        sample_weight : array_like of shape (n,), optional
            Weights >= 0, which count as repetitions of a row, for the model and for those steps whose ``fit``
            takes them; PCA does not.
        confounds : array_like of shape (n, c), optional
            As in :meth:`CCA.fit`: taken out of what the steps make of the views.
        groups : array_like of shape (n,), optional
            Handed to the splitter of a model that cross-validates.

        {returns_self}

        Raises
        ------
        ValueError, TypeError
            See :class:`TwoViewPipeline`.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )
        check_same_rows(X=X, y=y, sample_weight=sample_weight, confounds=confounds, groups=groups)
        model = self._checked_model()
        X, vector = _table("X", X)[0], y
        y, self._y_is_vector = _table("y", y)
        n = _num_samples(X)
        if _num_samples(y) != n:
            raise ValueError(f"X and y must have the same number of rows, got {n} and {_num_samples(y)}")
        weights = as_weights(sample_weight, n, more_than=1.0)
        for name in self._schema.optional.split():  # of an earlier fit
            self.__dict__.pop(name, None)
        validate_data(self, X, reset=True, skip_check_array=True)
        names = column_names(vector)
        if names is not None:
            self.y_feature_names_in_ = names

        steps = named_steps("x", self.x), named_steps("y", self.y)
        plain = all(_passes(step) for of in steps for _, step in of)
        options = {"sample_weight": weights, "confounds": confounds}
        if isinstance(model, SEARCHES) and not plain:
            results = self._search(model, steps, X, y, vector, options, groups)
        self.x_steps_, of_x = fitted_steps(steps[0], X, vector, weights)
        self.y_steps_, of_y = fitted_steps(steps[1], y, X, weights)
        if plain:
            of_y = vector  # a model may give a vector its own place
        if not isinstance(model, SEARCHES):
            self.model_ = _fit(clone(model), of_x, of_y, {**options, "groups": groups})
        elif plain:
            found = _fit(clone(model), of_x, of_y, {**options, "groups": groups})
            self._adopt(found.cv_results_, found.best_index_, found.n_splits_)
            self.model_ = found.best_estimator_
        else:
            self.model_ = self._refit(model, results, of_x, of_y, options)
        scores = self._scores_of(of_x, of_y, confounds)
        for name, raw, z in zip(("x_loadings_", "y_loadings_"), (X, y), scores, strict=True):
            loadings = _column_correlations(raw, z, weights)
            if loadings is not None:
                setattr(self, name, loadings)
        return self

    def _checked_model(self) -> Any:
        model = CCA() if self.model is None else self.model
        for name in ("fit", "transform", "transform_y", "transform_views"):
            if not hasattr(model, name):
                raise TypeError(f"model must be an estimator of two views: {model!r} has no {name}")
        if getattr(model, "max_components", None) is not None and not isinstance(model, SEARCHES):
            raise ValueError(
                f"{type(model).__name__}(max_components=...) would choose by rows that the steps have seen: "
                "search model__n_components by GridSearchCV"
            )
        return model

    def _search(
        self,
        model: Any,
        steps: tuple[Steps, Steps],
        X: Any,
        y: Any,
        target: Any,
        options: dict[str, Any],
        groups: Any,
    ) -> list[Any]:
        """``model`` fitted with one split each, after steps fitted to the training rows of that split."""
        splits = row_splits(
            model.cv, np.empty((_num_samples(X), 0)), target, groups, options["sample_weight"]
        )
        if pools(splits):
            raise ValueError(
                f"cv: with steps before the model each split takes at least {FEWEST} test rows to correlate"
            )
        found = []
        for train, test in splits:
            (xt, yt), w = self._prepared_on(train, steps, X, y, target, options["sample_weight"])
            one = clone(model).set_params(cv=[(train, test)])
            found.append(_quietly(one, xt, yt, {**options, "sample_weight": w}))
        return found

    @staticmethod
    def _prepared_on(
        train: NDArray[np.intp], steps: tuple[Steps, Steps], X: Any, y: Any, target: Any, weights: Any
    ) -> tuple[tuple[Any, Any], Any]:
        """All rows as steps make them that were fitted to some."""
        part = [_safe_indexing(data, train) for data in (X, y, target)]
        w = None if weights is None else weights[train]
        of_x, _ = fitted_steps(steps[0], part[0], part[2], w)
        of_y, _ = fitted_steps(steps[1], part[1], part[0], w)
        return (transformed(of_x, X), transformed(of_y, y)), weights

    def _refit(self, model: Any, found: list[Any], X: Any, y: Any, options: dict[str, Any]) -> Any:
        """The model with the best parameters, fitted to all rows."""
        # the grid of all rows, where the data make it
        whole = _quietly(clone(model).set_params(cv=found[0].cv), X, y, options)
        params = whole.cv_results_["params"]
        width = min(len(one.cv_results_["params"]) for one in [whole, *found])
        scores = np.array([one.cv_results_["mean_test_score"][:width] for one in found])
        results = search_results(params[:width], scores)
        ties = np.flatnonzero(results["rank_test_score"] == 1)
        best = int(max(ties, key=lambda i: _simplicity(params[i], model)))
        self._adopt(results, best, len(found))
        if "reg" in params[0] and getattr(model, "regs", None) is not None:
            column = [i for i in range(width) if {**params[i], "reg": 0} == {**params[best], "reg": 0}]
            pairs = [RIDGES("regs", params[i]["reg"]) for i in column]
            warn_of_end(pairs, results["mean_test_score"][column], column.index(best), default=False)
        return _fit(clone(whole.best_estimator_).set_params(**params[best]), X, y, options)

    def _adopt(self, results: dict[str, Any], best: int, n_splits: int) -> None:
        self.cv_results_, self.best_index_, self.n_splits_ = results, best, n_splits
        self.best_params_ = results["params"][best]
        self.best_score_ = float(results["mean_test_score"][best])

    def _scores_of(self, of_x: Any, of_y: Any, confounds: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        zx, zy = self.model_.transform_views(of_x, of_y, **_given(confounds=confounds))
        return np.asarray(zx), np.asarray(zy)

    def _prepared(self, X: Any, y: Any, weights: Any = None) -> tuple[Any, Any, Any]:
        """The model, and both views as steps make them that see one view each: for tests by resampling."""
        X, y = _table("X", X)[0], _table("y", y)[0]
        views = []
        for side, data in zip(SIDES, (X, y), strict=True):
            steps = named_steps(side, getattr(self, side))
            try:
                views.append(fitted_steps(steps, data, None, weights)[1])
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"a step of {side} cannot be fitted to {side} alone, as a test of how the views belong "
                    f"together takes it: {error}"
                ) from None
        return self._checked_model(), views[0], views[1]

    # ---- what users call

    @property
    def canonical_correlations_(self) -> NDArray[Any]:
        """Correlations of the training scores of ``model_``, shape (n_components_,)."""
        return np.asarray(self.model_.canonical_correlations_)

    def summary(self) -> Report:
        """What ``model_`` found of the columns that the steps make, as named tables.

        {returns_report}

        {raises_not_fitted}
        """
        check_is_fitted(self)
        report: Report = self.model_.summary()
        return report

    @property
    def n_components_(self) -> int:
        """Number of components of ``model_``."""
        return int(self.model_.n_components_)

    @property
    def _n_features_out(self) -> int:  # read by get_feature_names_out
        return self.n_components_

    def _view(self, side: str, data: Any) -> Any:
        """A view as the steps make it."""
        check_is_fitted(self)
        data = _table("X" if side == "x" else "y", data)[0]
        if side == "x":
            validate_data(self, data, reset=False, skip_check_array=True)
        else:
            names, fitted = column_names(data), getattr(self, "y_feature_names_in_", None)
            if names is not None and fitted is not None and list(names) != list(fitted):
                raise ValueError("The feature names of y should match those that were passed during fit")
        return transformed(self.x_steps_ if side == "x" else self.y_steps_, data)

    def transform(self, X: Any, y: Any = None, confounds: ArrayLike | None = None) -> NDArray[Any]:
        """Scores of the first view.

        Parameters
        ----------
        X : array_like or data frame of shape (n, p)
            Rows in the units of the training data.
        y : ignored
        {confounds_of_rows}

        Returns
        -------
        ndarray of shape (n, n_components_)
            A data frame after ``set_output``.

        {raises_not_fitted}
        ValueError
            As steps and model do.
        """
        data, extra = self._view("x", X), _given(confounds=confounds)
        return np.asarray(self.model_.transform(data, **extra))

    def transform_y(self, y: Any, confounds: ArrayLike | None = None) -> NDArray[Any]:
        """Scores of the second view.

        Parameters
        ----------
        y : array_like or data frame of shape (n, q), or array_like of shape (n,) if q is 1
            Rows in the units of the training data.
        {confounds_of_rows}

        Returns
        -------
        ndarray of shape (n, n_components_)
            A data frame after ``set_output``.

        {raises_as_transform}
        """
        data, extra = self._view("y", y), _given(confounds=confounds)
        scores = np.asarray(self.model_.transform_y(data, **extra))
        return _wrap_data_with_container("transform", scores, y, self)  # type: ignore[no-any-return]

    def transform_views(
        self, X: Any, y: Any, confounds: ArrayLike | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Scores of both views as plain arrays.

        Parameters
        ----------
        X : array_like or data frame of shape (n, p)
            Rows of the first view.
        y : array_like or data frame of shape (m, q)
            Rows of the second view; without confounds they need not be paired with those of ``X``.
        {confounds_of_rows}

        {returns_both_scores}
        """
        return self._scores_of(self._view("x", X), self._view("y", y), confounds)

    def predict(self, X: Any, confounds: ArrayLike | None = None) -> NDArray[Any]:
        """The second view as the model predicts it, back through its steps.

        Parameters
        ----------
        X : array_like or data frame of shape (n, p)
            Rows of the first view.
        {confounds_of_rows}

        {returns_y}

        {raises_not_fitted}
        ValueError
            If a step of y has no ``inverse_transform``.
        """
        data, extra = self._view("x", X), _given(confounds=confounds)
        return self._back("y", self.model_.predict(data, **extra))

    def predict_x(self, y: Any, confounds: ArrayLike | None = None) -> NDArray[Any]:
        """The first view as the model predicts it, back through its steps.

        Parameters
        ----------
        y : array_like or data frame of shape (n, q)
            Rows of the second view.
        {confounds_of_rows}

        {returns_x}

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`predict`.
        """
        data, extra = self._view("y", y), _given(confounds=confounds)
        return self._back("x", self.model_.predict_x(data, **extra))

    def inverse_transform(self, Z: ArrayLike) -> NDArray[Any]:
        """The first view as the model makes it of its scores, back through its steps.

        {x_scores}

        {returns_x}

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`predict`.
        """
        check_is_fitted(self)
        return self._back("x", self.model_.inverse_transform(Z))

    def inverse_transform_y(self, Z: ArrayLike) -> NDArray[Any]:
        """The second view as the model makes it of its scores, back through its steps.

        {y_scores}

        {returns_y}

        Raises
        ------
        NotFittedError, ValueError
            As :meth:`predict`.
        """
        check_is_fitted(self)
        return self._back("y", self.model_.inverse_transform_y(Z))

    def _back(self, side: str, data: Any) -> NDArray[Any]:
        steps = self.x_steps_ if side == "x" else self.y_steps_
        if steps and data.ndim == 1:
            data = data[:, np.newaxis]
        for name, step in reversed(steps):
            if not hasattr(step, "inverse_transform"):
                raise ValueError(
                    f"the step {name!r} of {side} has no inverse_transform, which leads back to its units"
                )
            data = step.inverse_transform(data)
        back: NDArray[Any] = np.asarray(data)
        return back.ravel() if side == "y" and self._y_is_vector else back

    def score(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        confounds: ArrayLike | None = None,
    ) -> float:
        """The score of the model on these rows: of CCA the mean canonical correlation.

        Parameters
        ----------
        X : array_like or data frame of shape (n, p)
            Rows of the first view, at least two.
        y : array_like or data frame of shape (n, q)
            The paired rows of the second view.
        sample_weight : array_like of shape (n,), optional
            Weights count as repetitions of a row.
        {confounds_of_rows}

        Returns
        -------
        float

        {raises_as_transform}
        """
        check_same_rows(X=X, y=y, sample_weight=sample_weight)
        of_x, of_y = self._view("x", X), self._view("y", y)
        extra = _given(sample_weight=sample_weight, confounds=confounds)
        return float(self.model_.score(of_x, of_y, **extra))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        parts = [CCA() if self.model is None else self.model]
        with contextlib.suppress(ValueError, TypeError):  # which fit says
            parts += [step for _, step in named_steps("x", self.x)]
        tags.input_tags.sparse = all(
            hasattr(part, "__sklearn_tags__") and get_tags(part).input_tags.sparse for part in parts
        )
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _parameters(owner: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if hasattr(owner, "get_params") and not isinstance(owner, type):
        for name, value in owner.get_params(deep=True).items():
            yield prefix + name, value


def _table(name: str, data: Any) -> tuple[Any, bool]:
    """A view as steps take it, of two dimensions, and whether it was a vector."""
    if not hasattr(data, "shape"):
        if data is None:
            raise ValueError(f"{name} must be an array, got None")
        data = np.asarray(data)
    if len(data.shape) == 1 and name == "y":
        return (data.to_frame() if hasattr(data, "to_frame") else np.asarray(data)[:, np.newaxis]), True
    if len(data.shape) != 2:
        as_matrix(name, data)  # says what it should be
    return data, False


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _fit(model: Any, X: Any, y: Any, options: dict[str, Any]) -> Any:
    given = _given(**options)
    known = signature(model.fit).parameters
    for name in given:
        if name not in known:
            raise ValueError(f"{name} is not for this model: {type(model).__name__}.fit does not take it")
    return model.fit(X, y, **given)


def _quietly(model: Any, X: Any, y: Any, options: dict[str, Any]) -> Any:
    with warnings.catch_warnings():  # of the fit to all rows alone
        warnings.simplefilter("ignore", UserWarning)
        return _fit(model, X, y, options)


def _simplicity(params: dict[str, Any], model: Any) -> float:
    """How simple a model is, where the scores are equal, by the rule of each search."""
    if "n_components" in params:
        return -float(params["n_components"])
    if "penalty" in params:
        sign = -1 if getattr(model, "method", "pmd") == "pmd" else 1
        return sign * float(np.sum(np.broadcast_to(params["penalty"], 2)))
    return sum(RIDGES("reg", params["reg"]))  # type: ignore[no-any-return]


def _column_correlations(data: Any, scores: NDArray[Any], weights: Any) -> NDArray[np.float64] | None:
    """Pearson correlations of columns with scores, each over the rows where the column has a value."""
    try:
        a = as_matrix("data", data, frames_finite=False)
    except (TypeError, ValueError):  # text, sparse matrices
        return None
    z = np.asarray(scores, dtype=np.float64)
    z = z - z.mean(axis=0)
    w = np.ones(len(a)) if weights is None else weights
    out = np.zeros((a.shape[1], z.shape[1]))
    step = max(1, 2**21 // len(a))
    for start in range(0, a.shape[1], step):
        block = slice(start, start + step)
        column = a[:, block].astype(np.float64)
        present = np.isfinite(column)
        p = present * w[:, np.newaxis]
        n = np.maximum(p.sum(axis=0), np.finfo(float).tiny)
        column = np.where(present, column, 0.0)
        mean = (p * column).sum(axis=0) / n
        column = np.where(present, column - mean, 0.0)
        squares = (p * column**2).sum(axis=0)
        squares[squares <= n * (4 * float(np.finfo(a.dtype).eps) * mean) ** 2] = 0.0  # rounding alone
        # sums over the rows present: of z, of z², of column z
        s, ss = p.T @ z, p.T @ z**2
        across = (p * column).T @ z
        scale = np.sqrt(squares[:, np.newaxis] * (ss - s**2 / n[:, np.newaxis]).clip(0))
        np.divide(across, scale, out=out[block], where=scale > 0)
    return np.asarray(out.clip(-1.0, 1.0))
