"""What a reader of the label embeddings meets: few files, shallow classes, whole docstrings."""

import inspect
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

import fastcca
from fastcca import embedding
from fastcca._models.files import SavedModel
from fastcca.embedding import UnifiedSemanticEmbedding
from fastcca.taxonomy import Taxonomy

PACKAGE = Path(fastcca.__file__).parent
ESTIMATORS = [
    kind
    for kind in (getattr(embedding, name) for name in embedding.__all__)
    if isinstance(kind, type) and issubclass(kind, BaseEstimator)
]
each = pytest.mark.parametrize("kind", ESTIMATORS, ids=lambda kind: kind.__name__)


def files_of(call):
    """The package's files in which Python functions run during the call."""
    found = set()

    def note(frame, event, arg):
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            found.add(path.relative_to(PACKAGE).as_posix())

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(before)
    return found


def test_a_fit_of_use_runs_through_eight_files(rng):
    tree = Taxonomy.from_dict({"animal": {"mammal": ["cat", "dog"], "fish": ["eel"]}})
    y = np.repeat(["cat", "dog", "eel"], 10)
    X = rng.normal(size=(30, 5)) + 3 * np.eye(3, 5)[np.repeat([0, 1, 2], 10)]
    model = UnifiedSemanticEmbedding(tree, {"cat": [0, 1], "dog": [1, 1], "eel": [0, 0]}, n_epochs=10)
    own = ("embedding/", "taxonomy/", "functional/hinge")
    files = {path for path in files_of(lambda: model.fit(X, y)) if path.startswith(own)}
    assert "embedding/unified.py" in files
    assert len(files) <= 8, sorted(files)


@each
def test_classes_are_shallow(kind):
    def depth(k):
        below = [depth(base) for base in k.__bases__ if base.__module__.startswith("fastcca.embedding")]
        return 1 + max(below, default=0)

    assert issubclass(kind, SavedModel)
    assert depth(kind) <= 3


@each
def test_every_parameter_is_documented_once_and_in_order(kind):
    text = inspect.getdoc(kind)
    section = re.search(r"^Parameters\n-+\n(.*?)\n\n(?=\w+( \w+)?\n-+\n)", text, re.MULTILINE | re.DOTALL)[1]
    entries = re.findall(r"^(\w[\w, ]*) : (.+)$", section, re.MULTILINE)
    documented = {name: kind for names, kind in entries for name in names.split(", ")}
    signature = inspect.signature(kind).parameters
    assert sorted(documented) == sorted(signature)
    assert len(documented) == sum(len(names.split(", ")) for names, _ in entries)
    for name, parameter in signature.items():
        if parameter.default is None or "," in documented[name].partition("default=")[2]:
            continue
        told = documented[name].partition("default=")[2].strip('"')
        assert told, f"{kind.__name__}: the default of {name} is not documented"
        if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool):
            assert float(told.split()[0]) == parameter.default
        else:
            assert told == str(parameter.default)


def test_random_state_is_none_by_default():
    for kind in ESTIMATORS:
        parameter = inspect.signature(kind).parameters.get("random_state")
        assert parameter is None or parameter.default is None
