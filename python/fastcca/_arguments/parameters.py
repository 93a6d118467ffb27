"""Parameters that users set: what each may be, declared once and shared by name.

An estimator names the constraints of its parameters in ``_constraints``; its base class checks them before
every fit. A function calls a constraint: ``N_THREADS("n_threads", n_threads)``. Either way the same mistake
gets the same sentence, "``name`` must be ``expected``, got ``value``", as a ValueError.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = [
    "BATCH_SIZE",
    "CALLABLES",
    "DEGREE",
    "FLAG",
    "FRACTION",
    "LEARNING_RATE",
    "MISSING",
    "NOT_NEGATIVE",
    "NUMBER",
    "N_COMPONENTS",
    "N_EPOCHS",
    "N_THREADS",
    "POSITIVE",
    "POSITIVE_INTEGER",
    "RANDOM_STATE",
    "RIDGE",
    "RIDGES",
    "SEED",
    "Constraint",
    "K",
    "anything",
    "at_most",
    "check_n_components",
    "check_parameters",
    "choice",
    "integer",
    "number",
    "real_pair",
    "thread_count",
]

MOST_THREADS = 4096


@dataclass(frozen=True)
class Constraint:
    """What a parameter may be, as a test and as the words for it."""

    expected: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value
    optional: bool = False

    def __call__(self, name: str, value: Any) -> Any:
        """``value`` in its plain type, or a ValueError."""
        if self.optional and value is None:
            return None
        if not self.accepts(value):
            expected = f"{self.expected} or None" if self.optional else self.expected
            raise ValueError(f"{name} must be {expected}, got {_shown(value)}")
        return self.convert(value)

    @property
    def or_none(self) -> "Constraint":
        """The same, or None."""
        return replace(self, optional=True)


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))


def _is_real(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        return False
    try:
        return bool(np.isfinite(float(value)))
    except OverflowError:  # an integer beyond float64
        return False


def integer(low: int, high: int | None = None) -> Constraint:
    """An integer, no bool, from ``low`` to ``high``."""
    return Constraint(
        f"an integer >= {low}" if high is None else f"an integer from {low} to {high}",
        lambda value: _is_integer(value) and int(value) >= low and (high is None or int(value) <= high),
        int,
    )


def number(
    low: float = -np.inf, high: float = np.inf, *, above: float | None = None, below: float | None = None
) -> Constraint:
    """A finite number, no bool, from ``low`` to ``high``; ``above`` and ``below`` leave the end out."""
    rules = [
        f"{sign} {end:g}"
        for sign, end in ((">=", low), (">", above), ("<=", high), ("<", below))
        if end is not None and np.isfinite(end)
    ]
    return Constraint(
        " ".join(["a finite number", " and ".join(rules)]).strip(),
        lambda value: (
            _is_real(value)
            and low <= float(value) <= high
            and (above is None or float(value) > above)
            and (below is None or float(value) < below)
        ),
        float,
    )


def choice(*options: Any) -> Constraint:
    """One of these strings (or None or bools, which are compared by identity)."""
    return Constraint(
        "one of " + ", ".join(map(repr, options)),
        lambda value: any(
            value is option or (isinstance(value, str) and value == option) for option in options
        ),
    )


def _pair(value: Any) -> Sequence[Any]:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    return value if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)


def real_pair(each: Constraint, of: str = "(x, y)") -> Constraint:
    """A value for both views, or a pair of them; as a pair."""

    def accepts(value: Any) -> bool:
        pair = _pair(value)
        return len(pair) == 2 and all(map(each.accepts, pair))

    return Constraint(
        f"{each.expected} or a pair of them {of}",
        accepts,
        lambda value: tuple(each.convert(part) for part in _pair(value)),
    )


def anything(expected: str = "anything") -> Constraint:
    """What is checked elsewhere, by the data or by another library."""
    return Constraint(expected, lambda value: True)


def at_most(name: str, value: int, most: int, because: str) -> int:
    """Refuse a number above what the data allow; ``because`` says what ``most`` is."""
    if value > most:
        raise ValueError(f"{name}={value} is more than {because}")
    return value


def check_n_components(n_components: Any, p: int, q: int) -> int:
    """The number of components asked for: at most min(p, q), which is also what None stands for."""
    k = N_COMPONENTS("n_components", n_components)
    if k is None:
        return min(p, q)
    return at_most("n_components", k, min(p, q), f"min(p, q) = {min(p, q)}: X has {p} and y has {q} features")


# ---- the parameters, by name

POSITIVE_INTEGER = integer(1)
K = N_EPOCHS = BATCH_SIZE = POSITIVE_INTEGER
DEGREE = integer(1, 2**31 - 1)  # the core counts degrees in 32 bits
N_COMPONENTS = POSITIVE_INTEGER.or_none
N_THREADS = POSITIVE_INTEGER.or_none
SEED = integer(0, 2**64 - 1)
NUMBER = number()
NOT_NEGATIVE = number(0)
POSITIVE = number(above=0)
LEARNING_RATE = POSITIVE
FRACTION = number(0, below=1)
RIDGE = NOT_NEGATIVE
RIDGES = real_pair(RIDGE)
FLAG = Constraint("True or False", lambda value: isinstance(value, (bool, np.bool_)), bool)
MISSING = choice("error", "drop", "em")
CALLABLES = Constraint(
    "a sequence of callables", lambda value: isinstance(value, Sequence) and all(map(callable, value))
)
RANDOM_STATE = Constraint(
    "an integer from 0 to 2**32 - 1, a numpy.random.RandomState or None",
    lambda value: (
        value is None
        or isinstance(value, np.random.RandomState)
        or value is np.random
        or (_is_integer(value) and 0 <= int(value) < 2**32)
    ),
)


def check_parameters(owner: Any, constraints: Mapping[str, Constraint]) -> None:
    """Check every attribute of ``owner`` that has a constraint."""
    for name, constraint in constraints.items():
        constraint(name, getattr(owner, name))


def thread_count(n_threads: Any, name: str = "n_threads") -> int:
    """What the core takes for ``n_threads``: 0 for None, its default."""
    return min(N_THREADS(name, n_threads) or 0, MOST_THREADS)
