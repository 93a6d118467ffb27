"""Models as files: a schema for each class, values in the layout of safetensors, never a pickle.

A class takes part by deriving from :class:`SavedModel` and declaring a :class:`Schema`: its name in files,
a version, and the keys under which a file has what ``fit`` sets. A file knows neither modules nor private
attributes, so that both can change. Values may be numbers, text, None, arrays, lists, tuples, dicts, data
frames of pandas, scikit-learn's splitters, :class:`~fastcca.Moments`, :class:`~fastcca.taxonomy.Taxonomy`
and other saved models, nested at will; other estimators by skops, as far as it trusts their types.
"""

import hashlib
import inspect
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from typing import IO, Any, ClassVar, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from fastcca._models.atomic_fit import AtomicFit
from fastcca._models.atomic_write import replacing
from fastcca._models.tensor_file import Tensor, read_tensors, write_tensors
from fastcca.functional.moments import Moments
from fastcca.taxonomy import Taxonomy

__all__ = ["Place", "Reader", "RefusedError", "SavedModel", "Schema", "Writer", "class_of", "read_model"]

FORMAT = "fastcca model"
FORMAT_VERSION = 1
HEADER = "fastcca"  # where the file's metadata have our header
DIGEST = "sha256"
# What scikit-learn keeps of set_fit_request and its like, and of set_output.
ROUTING, OUTPUT = "_metadata_request", "_sklearn_output_config"

# A path, or a file open in binary mode.
Place = str | os.PathLike[str] | IO[bytes]


@dataclass(frozen=True)
class Schema:
    """How a file holds what a class learned. A class also has the fields of those that it derives from.

    Fields are names with blanks between them, each an attribute that ``fit`` sets and the file's key for it;
    ``key=attribute`` where they differ: a private attribute always has a key of its own. What is once in a
    schema stays readable: a class that changes it counts up ``version`` and overrides
    :meth:`SavedModel._upgraded`.
    """

    name: str = ""  # none for a class that has subclasses alone
    version: int = 1
    fields: str = ""  # that every fit sets
    optional: str = ""  # that some fits set
    partial_fit: str = (
        ""  # likewise, and nothing but ``partial_fit`` reads them: ``moments=False`` leaves them out
    )


class _Field(NamedTuple):
    attribute: str
    required: bool
    for_partial_fit: bool


class RefusedError(ValueError):
    """Of a file that is whole, but that the arguments do not fit."""


# The classes by the names of their schemas. Those that users derive have the schema of the class they derive
# from and are known by module and name.
_classes: dict[str, type["SavedModel"]] = {}
_derived: dict[tuple[str, str], type["SavedModel"]] = {}


class SavedModel(AtomicFit):
    """Gives an estimator ``save``; :func:`fastcca.load` knows its class by the name in its schema."""

    _schema: ClassVar[Schema] = Schema()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = vars(cls)["_schema"].name if "_schema" in vars(cls) else ""
        if not name:
            if not _is_own(cls):
                _derived[cls.__module__, cls.__qualname__] = cls
            return
        known = _classes.get(name)
        if known is not None and _is_own(known) and not _is_own(cls):
            raise TypeError(
                f"{name!r} is the schema of {known.__name__}: a class of yours needs another name"
            )
        if known is not None and _is_own(cls) and _is_own(known) and known.__qualname__ != cls.__qualname__:
            raise TypeError(f"{cls.__name__} and {known.__name__} have the same schema {name!r}")
        _classes[name] = cls

    def save(self, path: Place, *, moments: bool = True) -> None:
        """Write the fitted model to one file, which :func:`fastcca.load` reads.

        A file of a path is written next to it and renamed, so that it is there whole or not at all. It is in
        the layout of safetensors: arrays, and a header of JSON; no pickle.

        Parameters
        ----------
        path : path or binary file
            Where to; an existing file is replaced, ``~`` is your home. ``.safetensors`` is the usual suffix,
            none is added. Or a file open for writing in binary mode, also in memory (``io.BytesIO``).
        moments : bool, default=True
            Whether to store what ``partial_fit`` goes on from, which may be many times as large as all else:
            (p + q)² numbers for views of p and q columns. Without it the loaded model does everything but
            ``partial_fit``, and scores and predictions are the same to the bit. What follows from the rest is
            then left out too and computed by ``load``, such as loadings, which are the same but for rounding.
            A CCA with k components takes 3 (p + q) k numbers: its weights, and the regressions of both views
            on the scores of either.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If a parameter cannot be stored without pickle, the message says which; if ``path`` is neither a
            path nor a binary file.
        FileNotFoundError
            If there is no such folder.
        OSError
            If the disk is full; an existing file stays as it was.

        Notes
        -----
        Networks of your own are saved by their weights alone: :func:`fastcca.load` takes modules of the same
        architecture. Callbacks and ``augment`` of deep models are not saved.

        Examples
        --------
        >>> import numpy as np, fastcca, tempfile, pathlib
        >>> X = np.random.default_rng(0).normal(size=(50, 3))
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> fastcca.CCA(reg=0.1).fit(X, X[:, :2]).save(path)
        >>> fastcca.load(path)
        CCA(reg=0.1)
        """
        self._check_saved()
        writer = Writer(moments, type(self).__name__)
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fastcca": version("fastcca"),
            "model": writer.encode(self, ""),
        }
        text = json.dumps(header, allow_nan=False)
        metadata = {HEADER: text, DIGEST: digest_of(text, writer.tensors)}
        if _is_file(path, "write"):
            write_tensors(cast(IO[bytes], path), writer.tensors, metadata)
            return
        with replacing(_expanded(path)) as temporary, temporary.open("wb") as file:
            write_tensors(file, writer.tensors, metadata)

    # ---- what a class may do in its own way

    def _check_saved(self) -> None:
        """Refuse what is not fitted."""
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)

    def _packed(self, writer: "Writer", where: str) -> dict[str, Any]:
        """This model as an entry of the header; arrays go to ``writer``, named after ``where``."""
        kind = type(self)
        own = _with_schema(kind)
        if own is None:
            raise TypeError(f"a {kind.__name__} cannot be stored: its class has no schema")
        state = dict(vars(self))
        requests, output = _requests(state.pop(ROUTING, None)), state.pop(OUTPUT, None)
        parameters = {name: getattr(self, name) for name in _parameters(kind)}
        for name in parameters:
            state.pop(name, None)
        fitted: dict[str, Any] = {}
        left_out: list[str] = []
        follows: frozenset[str] = frozenset() if writer.moments else self._follows()
        for key, (attribute, required, for_partial_fit) in fields_of(kind).items():
            if attribute in state:
                value = state.pop(attribute)
                if attribute in follows:
                    left_out.append(key)
                elif writer.moments or not for_partial_fit:
                    fitted[key] = value
            elif required and fitted:
                raise AttributeError(f"{kind.__name__} has no {attribute}, which its schema names")
        node: dict[str, Any] = {"model": own._schema.name, "version": own._schema.version}
        if kind is not own:
            node["subclass"] = kind.__qualname__
        node["parameters"] = writer.encode_items(parameters, where)
        node["fitted"] = writer.encode_items(fitted, where)
        if left_out:
            node["left_out"] = left_out
        if state:  # what a user, or a class of the user's, has added
            node["extra"] = writer.encode_items(state, where)
        if output:
            node["output"] = writer.encode(output, where)
        if requests:
            node["requests"] = requests
        return node

    @classmethod
    def _unpacked(cls, node: Mapping[str, Any], reader: "Reader") -> Any:
        """The model of an entry of the header."""
        own = _with_schema(cls) or cls
        written = node["version"]
        if type(written) is not int or not 1 <= written <= own._schema.version:
            raise ValueError(f"{own.__name__} of version {written!r}, known are 1 to {own._schema.version}")
        parameters, fitted = reader.decode_items(node["parameters"]), reader.decode_items(node["fitted"])
        if written < own._schema.version:
            cls._upgraded(written, parameters, fitted)
        # a newer version may have more parameters, and a class of the user's too
        needed = _parameters(own) if written == own._schema.version and cls is own else ()
        missing = [name for name in needed if name not in parameters]
        fields = fields_of(own)
        left_out = node.get("left_out", [])
        if fitted:
            known = {*fitted, *left_out}
            missing += [key for key, about in fields.items() if about.required and key not in known]
        if missing:
            raise ValueError(f"{own.__name__} lacks {', '.join(sorted(missing))}")
        unknown = sorted(set(fitted) - set(fields))
        if unknown:
            raise ValueError(f"{own.__name__} has no {unknown[0]}")
        model = cls(**parameters)
        attributes = {fields[key].attribute: value for key, value in fitted.items()}
        vars(model).update(reader.decode_items(node.get("extra", {})) | attributes)
        if left_out:
            model._set_what_follows()
            missing = [key for key in left_out if fields[key].attribute not in vars(model)]
            if missing:
                raise ValueError(f"{own.__name__} lacks {', '.join(sorted(missing))}")
        if "output" in node:
            model.set_output(**reader.decode(node["output"]))  # type: ignore[attr-defined]
        if "requests" in node:
            _set_requests(model, node["requests"])
        return model

    def _follows(self) -> frozenset[str]:
        """Attributes that a file without moments leaves out: :meth:`_set_what_follows` computes them."""
        return frozenset()

    def _set_what_follows(self) -> None:
        """Compute from the other attributes what :meth:`_follows` names."""

    @classmethod
    def _upgraded(cls, written: int, parameters: dict[str, Any], fitted: dict[str, Any]) -> None:
        """Change what a file of the older version ``written`` holds into what this version expects."""


def fields_of(kind: type[SavedModel]) -> dict[str, _Field]:
    """The fields of a class by their keys, with those of its bases."""
    fields: dict[str, _Field] = {}
    for base in reversed(kind.__mro__):
        schema = vars(base).get("_schema")
        if schema is None:
            continue
        for text, required, for_partial_fit in (
            (schema.fields, True, False),
            (schema.optional, False, False),
            (schema.partial_fit, False, True),
        ):
            for name in text.split():
                key, _, attribute = name.partition("=")
                fields[key] = _Field(attribute or key, required, for_partial_fit)
    return fields


def _with_schema(kind: type) -> type[SavedModel] | None:
    """The class whose schema a class has: itself, or the nearest that it derives from."""
    for base in kind.__mro__:
        if "_schema" in vars(base) and vars(base)["_schema"].name:
            return cast(type[SavedModel], base)
    return None


def _is_own(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "fastcca"


def _parameters(kind: type) -> tuple[str, ...]:
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(name for name, p in inspect.signature(kind).parameters.items() if p.kind not in kinds)


def class_of(name: str, subclass: str | None = None) -> type[SavedModel] | None:
    """The class of a schema, or the only one of the user's called ``subclass`` that derives from it.

    None if nothing of that name was imported.
    """
    kind = _classes.get(name)
    if kind is None or subclass is None:
        return kind
    found = [k for k in _derived.values() if k.__qualname__ == subclass and _with_schema(k) is kind]
    if len(found) == 1:
        return found[0]
    if not found:
        raise RefusedError(f"it holds a {subclass!r}, a class derived from {name}: import its module first")
    modules = " and ".join(sorted(repr(k.__module__) for k in found))
    raise RefusedError(f"it holds a {subclass!r}, and there is one in each of {modules}: import one of them")


# ---- files


def read_model(path: Place, find: Callable[[str, bool], None], given: Mapping[str, Any]) -> Any:
    """The model that a file holds; ``find`` imports the class of a schema, ``given`` is for networks."""
    if _is_file(path, "read"):
        name = repr(path.name) if hasattr(path, "name") else f"the {type(path).__name__}"
        return _read(cast(IO[bytes], path), name, find, given, alone=False)
    place = _expanded(path)
    if not os.path.exists(place):
        raise FileNotFoundError(f"there is no model file {place!r}")
    with open(place, "rb") as file:
        return _read(file, repr(place), find, given, alone=True)


def _read(
    file: IO[bytes],
    name: str,
    find: Callable[[str, bool], None],
    given: Mapping[str, Any],
    *,
    alone: bool,
) -> Any:
    with _damage(name, f"{name} is damaged or not a fastcca model: "):
        metadata, tensors = read_tensors(file, alone=alone)
    try:
        text = metadata[HEADER]
        header = json.loads(text)
        if header["format"] != FORMAT or type(header["format_version"]) is not int:
            raise KeyError(FORMAT)
    except (LookupError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{name} is not a fastcca model") from None
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(
            f"{name} was written by fastcca {header.get('fastcca')} in format "
            f"{header['format_version']}; fastcca {version('fastcca')} reads up to format {FORMAT_VERSION}: "
            "upgrade it"
        )
    with _damage(name, f"{name} is damaged: "):
        # before anything is made of the contents
        if metadata.get(DIGEST) != digest_of(text, tensors):
            raise ValueError("its contents are not those that were written")
        reader = Reader(tensors, find, given)
        model = reader.decode(header["model"])
        if not isinstance(model, SavedModel) or not header["model"]["fitted"]:
            raise ValueError("it holds no fitted model")
        for networks in ("encoder", "encoders", "decoders"):
            if given.get(networks) is not None and networks not in reader.used:
                raise RefusedError(
                    f"{networks} were given, but it holds no weights of {networks} of your own"
                )
        return model


@contextmanager
def _damage(name: str, prefix: str) -> Iterator[None]:
    """One error for whatever comes of contents that are not what they should be."""
    try:
        yield
    except RefusedError as error:
        raise ValueError(f"{name}: {error}") from None
    except MemoryError:
        raise MemoryError(f"{name}: out of memory while reading it") from None
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
        RuntimeError,
        ArithmeticError,
        SyntaxError,  # np.dtype of a text that is none
    ) as error:
        raise ValueError(prefix + (" ".join(str(error).split()) or type(error).__name__)) from None


def digest_of(text: str, tensors: Mapping[str, Tensor]) -> str:
    """A digest of all that a file says: of our header's text, and of the tensors."""
    found = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(tensors):
        dtype, shape, data = tensors[name]
        found.update(json.dumps([name, dtype, shape]).encode())
        found.update(data.data)
    return found.hexdigest()


def _is_file(path: Any, method: str) -> bool:
    """Whether this is an open file, not a path; a TypeError if it is neither."""
    if isinstance(path, (str, bytes, os.PathLike)):
        return False
    if not callable(getattr(path, method, None)):
        raise TypeError(
            f"path must be a path or a file open in binary mode to {method}, got {type(path).__name__}"
        )
    if hasattr(path, "encoding"):
        raise TypeError("path is a file open in text mode: open it in binary mode ('rb', 'wb')")
    return True


def _expanded(path: Any) -> str:
    return os.path.expanduser(os.fsdecode(path))


# ---- values


class Writer:
    """Turns values into JSON and keeps their arrays as tensors."""

    def __init__(self, moments: bool = True, name: str = "") -> None:
        self.moments = moments
        self._name = name  # what errors call the whole
        self.tensors: dict[str, Tensor] = {}
        self._known: dict[int, tuple[NDArray[Any], dict[str, Any]]] = {}

    def add(self, tensor: Tensor, where: str) -> str:
        """Keep a tensor; the name under which the file has it."""
        name, count = where, 1
        while name in self.tensors:
            count += 1
            name = f"{where}~{count}"
        self.tensors[name] = tensor
        return name

    def encode_items(self, values: Mapping[str, Any], where: str) -> dict[str, Any]:
        return {key: self.encode(value, f"{where}.{key}" if where else key) for key, value in values.items()}

    def encode(self, value: Any, where: str) -> Any:
        """``value`` as JSON; ``where`` names its place."""
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, np.ma.MaskedArray):
            return {"masked": self.encode(value.tolist(), where), "dtype": value.dtype.str}
        if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
            return self.encode(value.item(), where)
        if isinstance(value, np.ndarray) and value.dtype == object:
            return {"objects": self.encode(value.ravel().tolist(), where), "shape": list(value.shape)}
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            return self._encode_array(value, where)
        if isinstance(value, list):
            return [self.encode(item, f"{where}.{i}") for i, item in enumerate(value)]
        if isinstance(value, tuple):
            return {"tuple": self.encode(list(value), where)}
        if isinstance(value, dict):
            pairs = [[self.encode(k, where), self.encode(v, f"{where}.{k}")] for k, v in value.items()]
            return {"dict": pairs}
        if isinstance(value, Moments):
            return {"moments": self.encode_items(value.__getstate__(), where)} if self.moments else None
        if type(value).__module__.split(".")[0] == "pandas" and hasattr(value, "columns"):
            parts = {
                "values": value.to_numpy(),
                "index": value.index.tolist(),
                "columns": value.columns.tolist(),
            }
            return {"frame": self.encode_items(parts, where)}
        if isinstance(value, Taxonomy):
            return {
                "taxonomy": [self.encode([n, value.parent(n)], f"{where}.{n}") for n in value.nodes],
            }
        if isinstance(value, SavedModel):
            return value._packed(self, where)
        module, name = type(value).__module__, type(value).__name__
        if module.startswith("sklearn.frozen") and name == "FrozenEstimator":
            return {"frozen": self.encode(value.estimator, where)}
        if module.startswith("sklearn.model_selection."):
            own = {**vars(value), **vars(value).get("cvargs", {})}
            names = [n for n in inspect.signature(type(value)).parameters if n not in ("args", "kwargs")]
            return {"splitter": name, "parameters": self.encode_items({n: own[n] for n in names}, where)}
        if hasattr(value, "get_params") and not isinstance(value, type):
            return self._encode_estimator(value, where)
        place = ".".join(filter(None, (self._name, where)))
        raise TypeError(
            f"{place} is a {name}, which cannot be stored without pickle; "
            "set that parameter to something plain before save, or use joblib or pickle"
        )

    def _encode_estimator(self, value: Any, where: str) -> dict[str, Any]:
        """An estimator of another library, as skops writes it."""
        io = _skops(f"a model with a {type(value).__name__}")
        content = io.dumps(value)
        odd = io.get_untrusted_types(data=content)
        if odd:
            place = ".".join(filter(None, (self._name, where)))
            raise TypeError(
                f"{place} holds a {odd[0]}, which cannot be stored without pickle: use joblib or pickle"
            )
        data = np.frombuffer(content, np.uint8)
        return {"skops": self.add(Tensor("U8", data.shape, data), where)}

    def _encode_array(self, value: NDArray[Any], where: str) -> dict[str, Any]:
        # a search and its best estimator share their arrays: once is enough
        known, node = self._known.get(id(value), (None, {}))
        if known is value:
            return node
        turned = value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous
        array = np.ascontiguousarray(value.T if turned else value).reshape(
            value.shape[::-1] if turned else value.shape
        )
        data = array.reshape(-1).view(np.uint8) if array.nbytes else np.zeros(0, np.uint8)
        dtype = _NATIVE.get(array.dtype.str)
        if dtype is not None:
            node = {"array": self.add(Tensor(dtype, array.shape, data), where)}
        else:  # text, dates and whatever the format does not know: bytes, and NumPy's description of them
            tensor = Tensor("U8", (*array.shape, array.dtype.itemsize), data)
            node = {
                "array": self.add(tensor, where),
                "dtype": _plain(np.lib.format.dtype_to_descr(array.dtype)),
            }
        if turned:
            node["order"] = "F"
        self._known[id(value)] = value, node
        return node


# safetensors' names for dtypes of NumPy's, little-endian
_NATIVE = {
    "|b1": "BOOL",
    "|u1": "U8",
    "|i1": "I8",
    "<i2": "I16",
    "<u2": "U16",
    "<f2": "F16",
    "<i4": "I32",
    "<u4": "U32",
    "<f4": "F32",
    "<i8": "I64",
    "<u8": "U64",
    "<f8": "F64",
}
_DTYPES = {name: np.dtype(text) for text, name in _NATIVE.items()}


def _skops(what: str) -> Any:
    try:
        return import_module("skops.io")
    except ImportError as error:
        raise ImportError(f"{what} takes the package skops: pip install skops") from error


def _plain(description: Any) -> Any:
    return [list(map(_plain, item)) for item in description] if isinstance(description, list) else description


def _described(description: Any) -> np.dtype[Any]:
    """The dtype that NumPy describes so; of a record, JSON has made lists of the fields' tuples."""
    if isinstance(description, list):
        description = [(name, _described(inner), *map(tuple, shape)) for name, inner, *shape in description]
        return cast("np.dtype[Any]", np.dtype(description))
    if not isinstance(description, str):
        raise ValueError("no dtype")
    return np.dtype(description)


@dataclass
class Reader:
    """Makes values of a header's JSON and the tensors."""

    tensors: Mapping[str, Tensor]
    find: Callable[[str, bool], None]  # imports the class of a schema; whether it has networks
    given: Mapping[str, Any]  # networks of the user's own, and the device
    used: set[str] = field(default_factory=set)  # what of it was taken
    _arrays: dict[str, NDArray[Any]] = field(default_factory=dict)

    def decode_items(self, nodes: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(nodes, dict):
            raise ValueError("unknown entry in the header")
        return {key: self.decode(node) for key, node in nodes.items()}

    def decode(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.decode(item) for item in node]
        if not isinstance(node, dict):
            return node
        match node:
            case {"float": text}:
                return float(text)
            case {"array": _}:
                return self._decode_array(node)
            case {"masked": items, "dtype": dtype}:
                values = self.decode(items)
                masked = np.ma.MaskedArray(np.empty(len(values), dtype=np.dtype(dtype)))
                for i, item in enumerate(values):
                    masked[i] = item
                return masked
            case {"objects": items, "shape": shape}:
                values = self.decode(items)
                out = np.empty(len(values), dtype=object)
                for i, item in enumerate(values):
                    out[i] = item
                return out.reshape(shape)
            case {"tuple": items}:
                return tuple(self.decode(items))
            case {"dict": pairs}:
                return {self.decode(key): self.decode(item) for key, item in pairs}
            case {"frame": parts}:
                content = self.decode_items(parts)
                return import_module("pandas").DataFrame(
                    content["values"], index=content["index"], columns=content["columns"]
                )
            case {"moments": parts}:
                moments = Moments.__new__(Moments)
                moments.__setstate__(self.decode_items(parts))
                return moments
            case {"taxonomy": pairs}:
                return Taxonomy(dict(self.decode(pairs)))
            case {"skops": tensor}:
                io, data = _skops("this model"), self.tensors[tensor].data.tobytes()
                odd = io.get_untrusted_types(data=data)
                if odd:
                    raise RefusedError(f"it holds a {odd[0]}, a type that is not to be trusted")
                return io.loads(data)
            case {"frozen": estimator}:
                return import_module("sklearn.frozen").FrozenEstimator(self.decode(estimator))
            case {"splitter": name, "parameters": parameters}:
                from sklearn import model_selection

                if name not in model_selection.__all__ or not hasattr(
                    getattr(model_selection, name), "split"
                ):
                    raise ValueError(f"unknown splitter {name!r}")
                return getattr(model_selection, name)(**self.decode_items(parameters))
            case {"model": name}:
                return self._class(name, node)._unpacked(node, self)
        raise ValueError("unknown entry in the header")

    def _class(self, name: str, node: Mapping[str, Any]) -> type[SavedModel]:
        if class_of(name) is None:
            self.find(name, "networks" in node)
        kind = class_of(name, node.get("subclass"))
        if kind is None:
            raise ValueError(f"unknown class {name!r}")
        return kind

    def _decode_array(self, node: Mapping[str, Any]) -> NDArray[Any]:
        name, order = node["array"], node.get("order", "C")
        if name not in self._arrays:
            dtype, shape, data = self.tensors[name]
            if "dtype" in node:
                described = _described(node["dtype"])
                if described.hasobject or dtype != "U8" or not shape or shape[-1] != described.itemsize:
                    raise ValueError(f"array {name!r} is not of its dtype")
                shape = shape[:-1]
            else:
                described = _DTYPES[dtype]
            array = data.view(described) if data.size else np.zeros(shape, described)
            self._arrays[name] = array.reshape(shape).T if order == "F" else array.reshape(shape)
        return self._arrays[name]


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
