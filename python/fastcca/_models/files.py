"""Models as files: one ``.npz`` of plain arrays and a JSON text, never a pickle.

A class takes part by deriving from :class:`SavedModel`: its constructor's parameters and every attribute that
its fit set are stored as they are. Values may be numbers, text, None, arrays, lists, tuples, dicts,
data frames of pandas, scikit-learn splitters,
:class:`~fastcca.Moments`, :class:`~fastcca.taxonomy.Taxonomy` and other saved models,
nested at will.
"""

import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastcca._models.atomic_fit import AtomicFit
from fastcca._models.atomic_write import read_arrays, replacing, save_arrays
from fastcca.functional.moments import Moments
from fastcca.taxonomy import Taxonomy

__all__ = ["Arrays", "SavedModel", "load"]

FORMAT = "fastcca model"
FORMAT_VERSION = 1
HEADER = "fastcca.json"
ROUTING = "_metadata_request"

# Where the package's own classes are: a file names them alone, whatever else is called the same.
_EMBEDDINGS = (
    "AttributeHierarchyLabelEmbedding",
    "AttributeLabelEmbedding",
    "HierarchyLabelEmbedding",
    "JointEmbedding",
    "LargeMarginEmbedding",
    "LargeMarginTaxonomyEmbedding",
    "NearestClassMean",
    "RidgeEmbedding",
    "UnifiedSemanticEmbedding",
    "WARPEmbedding",
)
_MODULES = {
    "CCA": "fastcca.cca",
    "CCACV": "fastcca.cca",
    "DeepCCA": "fastcca.deep",
    "EarlyFusion": "fastcca.fusion",
    "GCCA": "fastcca.cca",
    "InputScaling": "fastcca.embedding",
    "KernelCCA": "fastcca.cca",
    "KernelCCACV": "fastcca.cca",
    "MCCA": "fastcca.cca",
    "MCCACV": "fastcca.cca",
    "PLSCanonical": "fastcca.cca",
    "PLSRegression": "fastcca.cca",
    "PLSRegressionCV": "fastcca.cca",
    "PLSSVD": "fastcca.cca",
    "ProbabilisticCCA": "fastcca.cca",
    "SparseCCA": "fastcca.cca",
    "SparseCCACV": "fastcca.cca",
    "SynchronyDetector": "fastcca.synchrony",
    **dict.fromkeys(_EMBEDDINGS, "fastcca.embedding"),
}
# Classes that users derived, by module and name.
_derived: dict[tuple[str, str], type["SavedModel"]] = {}


class Arrays(dict[str, NDArray[Any]]):
    """The arrays of a file by name; without ``moments`` those that ``partial_fit`` alone reads stay out."""

    moments = True


class SavedModel(AtomicFit):
    """Gives an estimator ``save`` and makes :func:`load` know its class by name."""

    _for_partial_fit: ClassVar[tuple[str, ...]] = ()  # attributes besides moments that only it reads

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not _is_own(cls.__module__):
            _derived[cls.__module__, cls.__qualname__] = cls

    def save(self, path: str | os.PathLike[str], *, moments: bool = True) -> None:
        """Write the fitted model to one file, which :func:`fastcca.load` reads.

        The file is written beside ``path`` and renamed, so that it is there whole or not at all.

        Parameters
        ----------
        path : path
            Where to; an existing file is replaced. ``.npz`` is the usual suffix, none is added.
        moments : bool, default=True
            Whether to store what ``partial_fit`` goes on from, which may be many times as large as all else:
            (p + q)² numbers for views of p and q columns. Without it the loaded model does everything but
            ``partial_fit``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If a parameter cannot be stored without pickle; the message says which.
        FileNotFoundError
            If there is no such folder.

        Examples
        --------
        >>> import numpy as np, fastcca, tempfile, pathlib
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.npz"
        >>> fastcca.CCA(reg=0.1).fit(X, X[:, :2]).save(path)
        >>> fastcca.load(path)
        CCA(reg=0.1)
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        arrays = Arrays()
        arrays.moments = moments
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fastcca": version("fastcca"),
            "model": _encode(self, arrays, type(self).__name__),
        }
        header["digest"] = digest_of(header, arrays)
        contents: dict[str, Any] = {HEADER: np.array(json.dumps(header)), **arrays}
        with replacing(path) as temporary:
            save_arrays(temporary, **contents)


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model that an estimator's ``save`` wrote.

    Nothing in the file is executed: it holds arrays and JSON, read without pickle.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    estimator
        Fitted, of the class that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is not a fastcca model, or was written by a newer version.

    Examples
    --------
    >>> import numpy as np, fastcca, tempfile, pathlib
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.npz"
    >>> fastcca.CCA().fit(X, X[:, :2]).save(path)
    >>> fastcca.load(path).predict(X).shape
    (50, 2)
    """
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no model file {os.fspath(path)!r}")
    name = os.fspath(path)
    with open(path, "rb") as file:
        start = file.read(9)
        if start[8:] == b"{" and start[:2] != b"PK":  # safetensors: the header's length in 8 bytes, then JSON
            # By name: the networks' floor is above this one, and is built only if their extra is installed.
            return import_module("fastcca.deep").load(path)
        file.seek(0)
        try:
            arrays = Arrays(read_arrays(file))
        except MemoryError:
            raise MemoryError(
                f"{name!r}: out of memory while reading its {os.path.getsize(path):,} bytes"
            ) from None
        except Exception:
            # Damaged bytes fail wherever they lead (zipfile, zlib, struct, tokenize ...).
            raise ValueError(f"{name!r} is damaged or not a fastcca model") from None
    try:
        header = json.loads(str(arrays.pop(HEADER)))
        if header["format"] != FORMAT or not isinstance(header["format_version"], int):
            raise KeyError(FORMAT)
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{name!r} is not a fastcca model") from None
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{name!r} was written by fastcca {header.get('fastcca')} in format "
            f"{header['format_version']}; fastcca {version('fastcca')} reads up to format {FORMAT_VERSION}: "
            "upgrade it"
        )
    try:
        model = _decode(header["model"], arrays)
        if not isinstance(model, SavedModel):
            raise ValueError("it holds no model")
        check_digest(header, arrays)
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        ImportError,
        RecursionError,
        SyntaxError,
        ArithmeticError,
    ) as error:
        raise ValueError(f"{name!r} is damaged: {_line(error)}") from None
    return model


def digest_of(header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> str:
    """A digest of all that a file says: of the header without its digest, and of the arrays."""
    found = hashlib.sha256()
    rest = {key: value for key, value in header.items() if key != "digest"}
    found.update(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.nbytes else b"")
    return found.hexdigest()


def check_digest(header: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse contents that are not those which were written."""
    if header.get("digest") != digest_of(header, arrays):
        raise ValueError("its contents are not those that were written")


def check_parameters(kind: type, attributes: Mapping[str, Any]) -> None:
    """Refuse a state without a parameter of the constructor, which every method may rely on."""
    missing = set(inspect.signature(kind).parameters) - set(attributes)
    if missing:
        raise ValueError(f"{kind.__name__} lacks {', '.join(sorted(missing))}")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _encode(value: Any, arrays: Arrays, where: str) -> Any:
    """``value`` as JSON; arrays go to ``arrays`` under the name of their place."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return _encode(value.item(), arrays, where)
    if isinstance(value, np.ma.MaskedArray):
        return {"masked": _encode(value.tolist(), arrays, where), "dtype": value.dtype.str}
    if isinstance(value, np.ndarray) and (value.dtype == object or not value.dtype.hasobject):
        if value.dtype == object:
            return {"objects": _encode(value.tolist(), arrays, where)}
        # a search and its best estimator share their arrays: once is enough
        where = next((name for name, known in arrays.items() if known is value), where)
        arrays[where] = value
        return {"array": where}
    if isinstance(value, list):
        return [_encode(item, arrays, f"{where}.{i}") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": _encode(list(value), arrays, where)}
    if isinstance(value, dict):
        return {
            "dict": [
                [_encode(k, arrays, where), _encode(v, arrays, f"{where}.{k}")] for k, v in value.items()
            ]
        }
    if isinstance(value, Moments):
        if not arrays.moments:
            return None
        return {"moments": _encode(value.__getstate__(), arrays, where)}
    if type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns"):
        parts = {"values": value.to_numpy(), "index": value.index.tolist(), "columns": value.columns.tolist()}
        return {"frame": _encode(parts, arrays, where)}
    if isinstance(value, Taxonomy):
        return {"taxonomy": [_encode([n, value.parent(n)], arrays, f"{where}.{n}") for n in value.nodes]}
    if isinstance(value, SavedModel):
        kind = type(value)
        state = dict(vars(value))
        if not arrays.moments:
            state = {name: part for name, part in state.items() if name not in kind._for_partial_fit}
        # what set_fit_request and its like leave behind: an object of scikit-learn's that may hold the model
        requests = _requests(state.pop(ROUTING, None))
        node: dict[str, Any] = {"class": kind.__name__, "state": _encode(state, arrays, where)}
        if not _is_own(kind.__module__):
            node |= {"class": kind.__qualname__, "module": kind.__module__}
        if requests is not None:
            node["requests"] = requests
        return node
    if type(value).__module__.startswith("sklearn.model_selection."):
        names = [name for name in inspect.signature(type(value)).parameters if name not in ("args", "kwargs")]
        own = {**vars(value), **vars(value).get("cvargs", {})}
        return {
            "splitter": type(value).__name__,
            "parameters": _encode({n: own[n] for n in names}, arrays, where),
        }
    raise TypeError(
        f"{where} is a {type(value).__name__}, which cannot be stored without pickle; "
        "set that parameter to something plain before save, or use joblib or pickle"
    )


def _decode(node: Any, arrays: Arrays) -> Any:
    if isinstance(node, list):
        return [_decode(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    match node:
        case {"array": name}:
            return arrays[name]
        case {"masked": items, "dtype": dtype}:
            values = _decode(items, arrays)
            masked = np.ma.MaskedArray(np.empty(len(values), dtype=np.dtype(dtype)))
            for i, item in enumerate(values):
                masked[i] = item
            return masked
        case {"objects": items}:
            values = _decode(items, arrays)
            out = np.empty(len(values), dtype=object)
            out[:] = values
            return out
        case {"tuple": items}:
            return tuple(_decode(items, arrays))
        case {"dict": items}:
            return {_key(key, arrays): _decode(item, arrays) for key, item in items}
        case {"frame": parts}:
            content = _decode(parts, arrays)
            return import_module("pandas").DataFrame(
                content["values"], index=content["index"], columns=content["columns"]
            )
        case {"moments": parts}:
            state = dict(_decode(parts, arrays))
            if isinstance(state.get("eps"), float):  # files of before each column had its own
                state["eps"] = np.full(len(state.get("shift", ())), state["eps"])
            moments = Moments.__new__(Moments)
            moments.__setstate__(state)
            return moments
        case {"taxonomy": pairs}:
            return Taxonomy(dict(_decode(pairs, arrays)))
        case {"splitter": name, "parameters": parameters}:
            from sklearn import model_selection

            if name not in model_selection.__all__ or not hasattr(getattr(model_selection, name), "split"):
                raise ValueError(f"unknown splitter {name!r}")
            return getattr(model_selection, name)(**_decode(parameters, arrays))
        case {"class": name, "state": state}:
            kind = _class(name, node.get("module", "fastcca"))
            attributes = _decode(state, arrays)
            check_parameters(kind, attributes)
            model = kind.__new__(kind)
            vars(model).update(attributes)
            if "requests" in node:
                _set_requests(model, node["requests"])
            return model
    raise ValueError("unknown entry in the header")


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "fastcca"


def _class(name: str, module: str) -> type[SavedModel]:
    if _is_own(module):
        if name not in _MODULES:
            raise ValueError(f"unknown class {name!r}")
        # imported at its first use, which may be this one
        return getattr(import_module(_MODULES[name]), name)  # type: ignore[no-any-return]
    if (module, name) in _derived:
        return _derived[module, name]
    # a script's own class is in the module "__main__" here and in another one there
    alike = [kind for (_, other), kind in _derived.items() if other == name]
    if len(alike) != 1:
        raise ValueError(f"unknown class {name!r}, import {module} first")
    return alike[0]


def _requests(routing: Any) -> dict[str, dict[str, Any]] | None:
    """The metadata that each method asks for, from what scikit-learn keeps of ``set_fit_request``."""
    if routing is None:
        return None
    methods = {name: getattr(part, "requests", None) for name, part in vars(routing).items()}
    return {name: dict(requests) for name, requests in methods.items() if requests}


def _set_requests(model: Any, requests: dict[str, dict[str, Any]]) -> None:
    routing = model.get_metadata_routing()
    for method, asked in requests.items():
        for name, alias in asked.items():
            getattr(routing, method).add_request(param=name, alias=alias)
    setattr(model, ROUTING, routing)


def _key(node: Any, arrays: Arrays) -> Any:
    """A key of a dict; files of earlier versions hold tuples as bare lists."""
    key = _decode(node, arrays)
    return tuple(key) if isinstance(key, list) else key
