"""Networks in files: their weights as tensors, beside parameters that say how to build them anew."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from fastcca._models.files import Reader, RefusedError, SavedModel, Writer
from fastcca._models.tensor_file import Tensor

__all__ = ["SavedDeepModel"]

# torch's dtypes by the names that safetensors gives them
_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "F32": torch.float32,
    "I64": torch.int64,
    "F64": torch.float64,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


class SavedDeepModel(SavedModel):
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

    def __getstate__(self) -> dict[str, Any]:
        """What pickle and skops store: networks that the parameters describe by their weights, as arrays."""
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        parts = [state.get(name) for name in self._saved_networks]
        own = any(getattr(self, name) is not None for name in self._own_modules)
        if own or not all(isinstance(part, nn.Module) for part in parts):
            return state
        weights = {name: part.state_dict() for name, part in zip(self._saved_networks, parts, strict=True)}  # type: ignore[union-attr]
        if _misfit(self, weights) is None:  # unless somebody has put another network in the place of one
            for name, tensors in weights.items():
                state[name] = {key: tensor.detach().cpu().numpy() for key, tensor in tensors.items()}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        arrays = {name: state[name] for name in self._saved_networks if isinstance(state.get(name), dict)}
        if arrays:
            weights = {
                name: {key: torch.from_numpy(np.array(array)) for key, array in part.items()}
                for name, part in arrays.items()
            }
            _put(self, weights)

    def _packed(self, writer: Writer, where: str) -> dict[str, Any]:
        plain = type(self).__new__(type(self))
        vars(plain).update(vars(self))
        networks = {name: vars(plain).pop(name) for name in self._saved_networks if name in vars(self)}
        own = [name for name in self._own_modules if getattr(self, name) is not None]
        neutral = {**dict.fromkeys(self._own_modules), "callbacks": (), "augment": None, "device": "cpu"}
        neutral |= {
            name: word
            for name, word in (("optimizer", "adam"), ("schedule", "cosine"))
            if callable(getattr(self, name, None))
        }
        vars(plain).update({name: value for name, value in neutral.items() if name in vars(self)})
        node = super(SavedDeepModel, plain)._packed(writer, where)
        node["own"] = own
        node["networks"] = {}
        owners: dict[int, str] = {}  # of what is one network under two names
        for part, network in networks.items():
            owner = owners.setdefault(id(network), part)
            if owner != part:
                node["networks"][part] = {"same_as": owner}
                continue
            prefix = f"{where}.{part}" if where else part
            names = {}
            for key, tensor in network.state_dict().items():
                names[key] = writer.add(_stored(tensor, f"{part}.{key}"), f"{prefix}.{key}")
            node["networks"][part] = {"tensors": names}
        return node

    @classmethod
    def _unpacked(cls, node: Mapping[str, Any], reader: Reader) -> Any:
        model = super()._unpacked(node, reader)
        own, networks = node["own"], node["networks"]
        if not isinstance(own, list) or not set(own) <= set(cls._own_modules):
            raise ValueError("its header does not say which networks are your own")
        if not isinstance(networks, dict) or not set(networks) <= set(cls._saved_networks):
            raise ValueError("its header does not say which networks it holds")
        for name in cls._own_modules:
            given = reader.given.get(name)
            if name in own and given is None:
                raise RefusedError(
                    "it holds weights of networks of your own: pass modules of the same architecture "
                    f"as {name}"
                )
            if name in own:
                reader.used.add(name)
                setattr(model, name, given)
        if reader.given.get("device") is not None:
            model.device = _device(reader.given["device"])
        if not networks and not node["fitted"]:
            return model  # not fitted: a parameter of another model
        if set(networks) != set(cls._saved_networks):
            raise ValueError(f"{cls.__name__} lacks {', '.join(set(cls._saved_networks) - set(networks))}")
        weights = {
            part: {key: _tensor(reader.tensors[name]) for key, name in entry["tensors"].items()}
            for part, entry in networks.items()
            if "same_as" not in entry
        }
        try:
            misfit = _misfit(model, weights)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
            if not own:
                raise
            raise RefusedError(f"{' and '.join(own)} cannot be built into it: {error}") from error
        if misfit is not None:
            raise RefusedError(f"{' and '.join(own)} do not fit it: {misfit}") if own else ValueError(misfit)
        _put(model, weights)
        for part, entry in networks.items():
            if "same_as" in entry:
                if entry["same_as"] not in weights:
                    raise ValueError(f"{part} is to be the same as {entry['same_as']!r}, which it lacks")
                setattr(model, part, getattr(model, entry["same_as"]))
        return model


def _stored(tensor: Any, where: str) -> Tensor:
    """A tensor as a file holds it."""
    if not isinstance(tensor, torch.Tensor) or tensor.dtype not in _NAMES or tensor.layout != torch.strided:
        what = getattr(tensor, "dtype", type(tensor).__name__)
        raise TypeError(f"{where} is {what}, which cannot be stored without pickle")
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    data = flat.view(torch.uint8).numpy() if flat.numel() else np.zeros(0, np.uint8)
    return Tensor(_NAMES[tensor.dtype], tuple(tensor.shape), data)


def _tensor(stored: Tensor) -> torch.Tensor:
    dtype, shape, data = stored
    if not data.size:
        return torch.empty(shape, dtype=_DTYPES[dtype])
    return torch.from_numpy(data).view(_DTYPES[dtype]).reshape(shape)


def _device(device: Any) -> str:
    try:
        torch.empty(0, device=torch.device(device))
    # PyTorch asserts that it was built for CUDA, and raises RuntimeError for most else
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise RefusedError(f"device must be one that PyTorch has here, got {device!r}") from error
    return str(device)


def _misfit(model: Any, weights: Mapping[str, Mapping[str, torch.Tensor]]) -> str | None:
    """Where sizes that the parameters ask for are not those of the weights; takes no memory for them."""
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        modules = model._rebuilt()
    for part, module in zip(model._saved_networks, modules, strict=True):
        if part not in weights:
            continue
        wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
        held = {name: tuple(tensor.shape) for name, tensor in weights[part].items()}
        if wanted != held:
            name = next(n for n in [*wanted, *held] if wanted.get(n) != held.get(n))
            return f"{part}.{name} has shape {held.get(name)}, expected {wanted.get(name)}"
    return None


def _put(model: Any, weights: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    """Build the networks and put the weights in; the caller's random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]):
        modules = model._rebuilt()
    try:
        device = _device(model.device)
    except RefusedError:  # of a pickle from a machine that has it
        device = "cpu"
    for part, module in zip(model._saved_networks, modules, strict=True):
        if part in weights:
            module.to(getattr(torch, model.dtype)).load_state_dict(weights[part])
            setattr(model, part, module.to(device).eval())
