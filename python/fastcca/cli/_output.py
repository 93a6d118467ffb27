"""What commands say of a model."""

from typing import Any

import click

__all__ = ["describe", "print_lines"]


def describe(fitted: Any) -> None:
    parameters = ", ".join(f"{name}={value!r}" for name, value in sorted(fitted.get_params().items()))
    lines: dict[str, Any] = {
        "model": f"{type(fitted).__name__}({parameters})",
        "columns": f"{fitted.n_features_in_} in X"
        + (f", {fitted.n_y_features_in_} in Y" if hasattr(fitted, "n_y_features_in_") else ""),
        **({"components": fitted.n_components_} if hasattr(fitted, "n_components_") else {}),
        **({"solver": fitted.solver_} if hasattr(fitted, "solver_") else {}),
        **({"landmarks": _landmarks(fitted)} if hasattr(fitted, "x_landmarks_") else {}),
    }
    if hasattr(fitted, "classes_"):
        classes = [str(label) for label in fitted.classes_]
        lines["classes"] = f"{len(classes)}: {_some(', '.join(classes[:10]), len(classes))}"
    if hasattr(fitted, "canonical_correlations_"):
        correlations = " ".join(f"{value:.4f}" for value in fitted.canonical_correlations_[:10])
        lines["correlations"] = _some(correlations, fitted.n_components_)
        lines["total"] = f"{fitted.canonical_correlations_.sum():.4f}"
    print_lines(lines)


def _some(shown: str, of: int) -> str:
    return shown + (" …" if of > 10 else "")


def _landmarks(fitted: Any) -> str:
    left_out = f"{fitted.x_residual_:.2g} and {fitted.y_residual_:.2g} of the kernels left out"
    return f"{fitted.x_rank_} in X, {fitted.y_rank_} in Y; {left_out}"


def print_lines(pairs: dict[str, Any]) -> None:
    width = max(map(len, pairs))
    for name, value in pairs.items():
        click.echo(f"{name:{width}}  {value}")
