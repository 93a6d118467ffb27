"""Deep models as files: weights in safetensors, everything else in its JSON header. No pickle."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

import fastcca._persistence as plain
from fastcca._files import replacing
from fastcca._persistence import FORMAT, FORMAT_VERSION

__all__ = ["SavedDeepModel", "load"]

HEADER = "fastcca"
ENCODERS = ("encoder_x_", "encoder_y_")


class SavedDeepModel:
    """``save`` for an estimator with networks ``encoder_x_`` and ``encoder_y_``."""

    encoders: Any
    encoder_x_: nn.Module
    encoder_y_: nn.Module

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one safetensors file, which :func:`fastcca.load` reads.

        Networks of your own are saved by their weights alone: :func:`fastcca.deep.load` takes modules of the
        same make as ``encoders``. Callbacks and ``augment`` are not saved.

        Parameters
        ----------
        path : path
            Where to; an existing file is replaced once the new one is whole.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        TypeError
            If a parameter cannot be stored without pickle; the message says which.
        FileNotFoundError
            If there is no such folder.
        """
        from safetensors.torch import save_file
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        state = {name: value for name, value in vars(self).items() if name not in ENCODERS}
        state |= {"encoders": None, "callbacks": (), "augment": None, "device": "cpu"}
        arrays: dict[str, Any] = {}
        header = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "fastcca": version("fastcca"),
            "class": type(self).__name__,
            "own_encoders": self.encoders is not None,
            "state": plain._encode(state, arrays, type(self).__name__),
        }
        tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        for name in ENCODERS:
            for key, tensor in getattr(self, name).state_dict().items():
                tensors[f"{name}.{key}"] = tensor.detach().cpu().clone().contiguous()
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={HEADER: json.dumps(header)})


def load(path: str | os.PathLike[str], encoders: tuple[nn.Module, nn.Module] | None = None) -> Any:
    """Read a model that ``DeepCCA.save`` wrote.

    Parameters
    ----------
    path : path
        The file.
    encoders : pair of torch.nn.Module, optional
        For a model with networks of your own: modules of the same make, which receive the weights.

    Returns
    -------
    DeepCCA
        Fitted, on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, is no deep model of fastcca, was written by a newer version, or needs
        ``encoders``.
    """
    from safetensors import SafetensorError, safe_open

    from fastcca.deep.deep_cca import DeepCCA

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
        if header["format"] != FORMAT or header["class"] != DeepCCA.__name__:
            raise KeyError(FORMAT)
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{name!r} is not a deep model of fastcca") from None
    if header["format_version"] > FORMAT_VERSION:
        raise ValueError(f"{name!r} was written by fastcca {header['fastcca']}: upgrade to read it")
    if header["own_encoders"] and encoders is None:
        raise ValueError(
            f"{name!r} holds weights of networks of your own: pass modules of their make as encoders"
        )
    try:
        parts: dict[str, dict[str, torch.Tensor]] = {name: {} for name in ENCODERS}
        arrays = {}
        for key, tensor in tensors.items():
            owner = key.split(".")[0]
            if owner in parts:
                parts[owner][key[len(owner) + 1 :]] = tensor
            else:
                arrays[key] = tensor.numpy()
        model = DeepCCA.__new__(DeepCCA)
        model.__dict__.update(plain._decode(header["state"], arrays))
        if header["own_encoders"]:
            model.encoders = encoders
            modules = list(encoders or ())
        else:
            modules = model._build_encoders([model.n_features_in_, model.n_y_features_in_])
        for key, module in zip(ENCODERS, modules, strict=True):
            module.to(getattr(torch, model.dtype)).load_state_dict(parts[key])
            setattr(model, key, module.eval())
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{name!r} is damaged: {plain._line(error)}") from None
    return model
