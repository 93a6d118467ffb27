"""What commands say of a model."""

from typing import Any

import click

__all__ = ["describe", "print_lines", "with_article"]


def describe(fitted: Any, search: Any = None) -> None:
    """What a model is; of a ``search`` that chose it also how it did on rows that it was not fitted to."""
    lines: dict[str, Any] = {"model": _call(fitted)}
    frames = 1
    # a SynchronyDetector, whose estimator sees frames with their neighbours
    if hasattr(fitted, "estimator_"):
        frames = 2 * fitted.context + 1
        fitted = fitted.estimator_
        lines["estimator"] = _call(fitted)
    if hasattr(fitted, "views_"):
        _describe_views(lines, fitted, search)
        return
    x_columns, y_columns = (
        n if n is None else n // frames
        for n in (fitted.n_features_in_, getattr(fitted, "n_y_features_in_", None))
    )
    lines |= {
        "columns": f"{x_columns} in X" + ("" if y_columns is None else f", {y_columns} in Y"),
        **({"components": fitted.n_components_} if hasattr(fitted, "n_components_") else {}),
        **({"solver": fitted.solver_} if hasattr(fitted, "solver_") else {}),
        **({"rows": _rows(fitted)} if hasattr(fitted, "n_incomplete_") else {}),
        **({"landmarks": _landmarks(fitted)} if hasattr(fitted, "x_landmarks_") else {}),
    }
    if hasattr(fitted, "classes_"):
        classes = [str(label) for label in fitted.classes_]
        lines["classes"] = f"{len(classes)}: {_some(', '.join(classes[:10]), len(classes))}"
    if hasattr(fitted, "canonical_correlations_"):
        correlations = " ".join(f"{value:.4f}" for value in fitted.canonical_correlations_[:10])
        lines["correlations"] = _some(correlations, fitted.n_components_)
        lines["total"] = f"{fitted.canonical_correlations_.sum():.4f}"
        if search is not None and type(fitted).__name__ == "PLSRegression":
            lines["R²"] = f"{search.best_score_:.4f} cross-validated ({search.n_splits_} folds)"
        elif search is not None:
            lines["mean"] = _mean(fitted, search)
    print_lines(lines)


def _rows(fitted: Any) -> str:
    """How many rows a fit counts, and how many of all had missing values."""
    what = "left out" if fitted.missing == "drop" else "of the rows counted"
    return f"{fitted.n_samples_:g}; {fitted.n_incomplete_} with missing values, {what}"


def _describe_views(lines: dict[str, Any], fitted: Any, search: Any) -> None:
    columns = (f"{width} in {name}" for name, width in fitted._widths.items())
    lines |= {
        "columns": ", ".join(columns),
        "components": fitted.n_components_,
        **({"rows": _rows(fitted)} if hasattr(fitted, "n_incomplete_") else {}),
    }
    correlations = " ".join(f"{value:.4f}" for value in fitted.canonical_correlations_[:10])
    lines["correlations"] = _some(correlations, fitted.n_components_)
    if search is not None:
        lines["mean"] = _mean(fitted, search)
    print_lines(lines)


def _mean(fitted: Any, search: Any) -> str:
    return (
        f"{fitted.canonical_correlations_.mean():.4f} in training, {search.best_score_:.4f} "
        f"cross-validated ({search.n_splits_} folds)"
    )


def _call(model: Any) -> str:
    """The call that makes such a model; a detector's estimator has a line of its own."""
    parameters = ", ".join(
        f"{name}={value!r}"
        for name, value in sorted(model.get_params().items())
        if name.split("__")[0] != "estimator"
    )
    return f"{type(model).__name__}({parameters})"


def with_article(model: Any) -> str:
    name = type(model).__name__
    # "a UnifiedSemanticEmbedding"
    return f"{'an' if name[0] in 'AEIO' else 'a'} {name}"


def _some(shown: str, of: int) -> str:
    return shown + (" …" if of > 10 else "")


def _landmarks(fitted: Any) -> str:
    left_out = f"{fitted.x_residual_:.2g} and {fitted.y_residual_:.2g} of the kernels left out"
    return f"{fitted.x_rank_} in X, {fitted.y_rank_} in Y; {left_out}"


def print_lines(pairs: dict[str, Any]) -> None:
    width = max(map(len, pairs))
    for name, value in pairs.items():
        click.echo(f"{name:{width}}  {value}")
