"""Deep models as files: weights in safetensors, everything else in its JSON header. No pickle."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Any, ClassVar

import torch
from torch import nn

import fastcca._models.files as plain
from fastcca._models.atomic_fit import AtomicFit
from fastcca._models.atomic_write import replacing
from fastcca._models.files import FORMAT, FORMAT_VERSION

__all__ = ["SavedDeepModel", "load"]

HEADER = "fastcca"


class SavedDeepModel(AtomicFit):
    """``save`` for an estimator some of whose attributes are networks."""

    _saved_networks: ClassVar[tuple[str, ...]]  # those attributes
    _own_modules: ClassVar[tuple[str, ...]]  # parameters that may hold modules of the user's own

    def _rebuilt(self) -> list[nn.Module]:
        """Untrained networks such as fit made them, from the parameters."""
        raise NotImplementedError

    def __sklearn_clone__(self) -> Any:
        """As scikit-learn clones, but networks of the user's own together: what they share stays shared."""
        from sklearn.base import clone

        own = {name: getattr(self, name) for name in self._own_modules}
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        copied = {name: clone(value, safe=False) for name, value in params.items() if name not in own}
        twin = type(self)(**copied, **copy.deepcopy(own))
        # what set_output and set_fit_request leave
        for name in ("_sklearn_output_config", "_metadata_request"):
            if name in vars(self):
                setattr(twin, name, copy.deepcopy(vars(self)[name]))
        return twin

    def save(self, path: str | os.PathLike[str], *, moments: bool = True) -> None:
        """Write the fitted model to one safetensors file, which :func:`fastcca.load` reads.

        Networks of your own are saved by their weights alone: :func:`fastcca.deep.load` takes modules of the
        same architecture. Callbacks and ``augment`` are not saved.

        Parameters
        ----------
        path : path
            Where to; an existing file is replaced once the new one is whole.
        moments : bool, default=True
            Whether to store the moments of the networks' outputs, which nothing but ``partial_fit`` of the
            linear CCA on top (``cca_``) needs.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If a parameter cannot be stored without pickle; the message says which.
        FileNotFoundError
            If there is no such folder.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        networks = {name: getattr(self, name) for name in self._saved_networks}
        owners = {id(network): name for name, network in reversed(networks.items())}  # the first of equals
        neutral = {**dict.fromkeys(self._own_modules), "callbacks": (), "augment": None, "device": "cpu"}
        state = {name: value for name, value in vars(self).items() if name not in self._saved_networks}
        state |= {name: value for name, value in neutral.items() if name in state}
        arrays = plain.Arrays()
        arrays.moments = moments
        requests = plain._requests(state.pop(plain.ROUTING, None))
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fastcca": version("fastcca"),
            "class": type(self).__name__,
            "own": [name for name in self._own_modules if getattr(self, name) is not None],
            "tied": {
                name: owners[id(network)] for name, network in networks.items() if owners[id(network)] != name
            },
            "state": plain._encode(state, arrays, type(self).__name__),
        }
        if requests is not None:
            header["requests"] = requests
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        for name, network in networks.items():
            for key, tensor in network.state_dict().items():
                tensors[f"{name}.{key}"] = tensor.detach().cpu().clone().contiguous()
        header["digest"] = plain.digest_of(header, _bytes(tensors))
        with replacing(path) as temporary:
            try:
                save_file(tensors, temporary, metadata={HEADER: json.dumps(header)})
            except SafetensorError as error:
                number = re.search(r"os error (\d+)", str(error))
                if number is None:
                    raise
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def _bytes(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Tensors as what a digest is taken of; NumPy does not know all of their dtypes."""
    return {
        f"{name} {tensor.dtype} {tuple(tensor.shape)}": tensor.reshape(-1).view(torch.uint8).numpy()
        for name, tensor in tensors.items()
    }


def _check_sizes(model: Any, parts: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Compare the sizes that the parameters ask for with those of the weights, before memory is taken."""
    with torch.device("meta"):
        modules = model._rebuilt()
    for part, module in zip(model._saved_networks, modules, strict=True):
        wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        held = {name: tuple(tensor.shape) for name, tensor in parts[part].items()}
        if wanted != held:
            name = next(n for n in [*wanted, *held] if wanted.get(n) != held.get(n))
            raise ValueError(f"{part}.{name} has shape {held.get(name)}, expected {wanted.get(name)}")


def load(
    path: str | os.PathLike[str],
    encoders: tuple[nn.Module, nn.Module] | Mapping[str, nn.Module] | None = None,
    decoders: Mapping[str, nn.Module] | None = None,
) -> Any:
    """Read a model that ``save`` of a deep estimator wrote.

    Parameters
    ----------
    path : path
        The file.
    encoders : pair of torch.nn.Module or mapping of str to torch.nn.Module, optional
        For a model with encoders of your own: modules of the same architecture, given as they were to the
        estimator. Copies of them receive the weights.
    decoders : mapping of str to torch.nn.Module, optional
        Likewise.

    Returns
    -------
    estimator
        Fitted, on the CPU, of the class that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no deep model of fastcca, was written by a newer version, or needs
        ``encoders`` or ``decoders``.
    """
    from safetensors import SafetensorError, safe_open

    name = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no model file {name!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{name!r} is damaged or not a fastcca model ({plain._line(error)})") from None
    try:
        header = json.loads(metadata[HEADER])
        kind = getattr(import_module("fastcca.deep"), header["class"], None)
        if not isinstance(header["format_version"], int):
            raise KeyError(FORMAT)
        if header["format"] != FORMAT or not (isinstance(kind, type) and issubclass(kind, SavedDeepModel)):
            raise KeyError(FORMAT)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise ValueError(f"{name!r} is not a deep model of fastcca") from None
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(f"{name!r} was written by fastcca {header.get('fastcca')}: upgrade to read it")
    given = {"encoders": encoders, "decoders": decoders}
    own = header.get("own", [])
    if not isinstance(own, list) or not all(parameter in given for parameter in own):
        raise ValueError(f"{name!r} is damaged: its header does not say which networks are your own")
    missing = [parameter for parameter in own if given[parameter] is None]
    if missing:
        raise ValueError(
            f"{name!r} holds weights of networks of your own: pass modules of their make as {missing[0]}"
        )
    try:
        plain.check_digest(header, _bytes(tensors))
        parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in kind._saved_networks}
        arrays = plain.Arrays()
        for key, tensor in tensors.items():
            owner = key.split(".")[0]
            if owner in parts:
                parts[owner][key[len(owner) + 1 :]] = tensor
            else:
                arrays[key] = tensor.numpy()
        model: Any = kind.__new__(kind)
        model.__dict__.update(plain._decode(header["state"], arrays))
        plain.check_parameters(kind, model.__dict__)
        model.__dict__.update({parameter: given[parameter] for parameter in own})
        _check_sizes(model, parts)
        for part, module in zip(kind._saved_networks, model._rebuilt(), strict=True):
            module.to(getattr(torch, model.dtype)).load_state_dict(parts[part])
            setattr(model, part, module.eval())
        for part, owner in header.get("tied", {}).items():
            if owner not in parts or part not in parts:
                raise KeyError(part)
            setattr(model, part, getattr(model, owner))
        if "requests" in header:
            plain._set_requests(model, header["requests"])
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        raise ValueError(f"{name!r} is damaged: {plain._line(error)}") from None
    return model
