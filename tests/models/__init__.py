"""Models that were saved once and open for ever, with the answers that they gave.

``python tests/models/make.py`` adds a file for each class, and each new version of its schema, that has none.
What is here stays as it is: files that users have are like these.
"""

import json
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent


def to_json(value):
    """Numbers as JSON has them: 17 digits, from which the same float64 comes back."""
    if isinstance(value, np.ndarray):
        return {"array": value.tolist()}
    if isinstance(value, dict):
        return {"dict": [[key, to_json(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def from_json(node):
    if isinstance(node, list):
        return [from_json(item) for item in node]
    if isinstance(node, dict):
        (kind, content), *_ = node.items()
        return np.array(content) if kind == "array" else {key: from_json(item) for key, item in content}
    return node


def answer(model, steps):
    """What a chain of calls returns: each step is the name of a method and its arguments."""
    for name, arguments in steps:
        model = getattr(model, name)(*arguments)
    return model


def calls_of(path):
    """The calls that belong to a file, as pairs of steps and answer."""
    content = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    return [(from_json(call["steps"]), from_json(call["answer"])) for call in content]
