"""Checkpoints of a training: what a run that was killed needs to go on as if it had not been."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fastcca._models.atomic_write import replacing
from fastcca.deep._training import Best, generator_states, set_generator_states

__all__ = ["Checkpoint", "open_checkpoint"]

FORMAT = "fastcca checkpoint 1"


class Checkpoint:
    """The state after an epoch: networks, optimiser, schedule, generators, history, the best epoch so far.

    Parameters
    ----------
    path : path
        Of the file, which is replaced whole after each epoch.
    fingerprint : str
        Of the fit: a file of another one is refused.
    device : torch.device
        The one whose generator the training draws from, next to that of the CPU.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str, device: torch.device) -> None:
        self.path, self.fingerprint = Path(path), fingerprint
        self.devices = [torch.device("cpu"), *([device] if device.type != "cpu" else [])]
        self.parts: dict[str, Any] = {}
        self.notes: dict[str, Any] = {}
        self.saved = self._read()
        if self.saved is not None:
            self.notes = dict(self.saved["notes"])

    def _read(self) -> dict[str, Any] | None:
        if not self.path.exists():
            return None
        refusal = f"checkpoint {os.fspath(self.path)!r} "
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
            raise ValueError(f"{refusal}cannot be read: remove it to start anew ({error})") from error
        if not isinstance(saved, dict) or saved.get("format") != FORMAT:
            raise ValueError(f"{refusal}is no checkpoint of a training")
        if saved["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{refusal}is of another fit (other data, parameters or networks): remove it, or give "
                "another path"
            )
        return saved

    @property
    def number(self) -> int:
        """The epoch that the file holds, 0 where there is none."""
        return 0 if self.saved is None else int(self.saved["number"])

    @property
    def finished(self) -> bool:
        """Whether the training of the file had ended."""
        return self.saved is not None and bool(self.saved["finished"])

    def attach(self, name: str, part: Any) -> None:
        """An optimiser, a scheduler, a generator: saved from now on, and put into the state of the file."""
        self.parts[name] = part
        if self.saved is None or name not in self.saved["parts"]:
            return
        state = self.saved["parts"][name]
        if isinstance(part, torch.Generator):
            part.set_state(state)
        else:
            part.load_state_dict(state)

    def resume(self, networks: nn.Module, best: Best, history: list[dict[str, Any]]) -> None:
        """Networks, best epoch and history as the file has them."""
        if self.saved is None:
            return
        networks.load_state_dict(self.saved["networks"])
        best.score, best.epoch = self.saved["best_score"], self.saved["best_epoch"]
        best.state = self.saved["best"]
        history[:] = self.saved["history"]

    def resume_generators(self) -> None:
        """The generators as they were after the epoch: the last thing before the next one begins."""
        if self.saved is not None:
            set_generator_states(
                (torch.device(name), state) for name, state in self.saved["generators"].items()
            )

    def save(
        self,
        number: int,
        networks: nn.Module,
        best: Best,
        history: list[dict[str, Any]],
        finished: bool,
    ) -> None:
        """Replaces the file, which is the old or the new one whenever the process ends."""
        state = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "number": number,
            "finished": finished,
            "networks": networks.state_dict(),
            "parts": {name: _state_of(part) for name, part in self.parts.items()},
            "notes": self.notes,
            "generators": {str(device): state for device, state in generator_states(self.devices)},
            "best": best.state,
            "best_score": float(best.score),
            "best_epoch": int(best.epoch),
            "history": history,
        }
        with replacing(self.path) as temporary:
            torch.save(state, temporary)


def _state_of(part: Any) -> Any:
    return part.get_state() if isinstance(part, torch.Generator) else part.state_dict()


def open_checkpoint(
    path: Any,
    random_state: Any,
    networks: nn.Module,
    device: str,
    parameters: Mapping[str, Any],
    arrays: Iterable[Any],
) -> Checkpoint | None:
    """The checkpoint of a fit that begins with these networks, or None without a path.

    ``parameters`` and ``arrays`` (rows, means, scales) say which fit it is.
    """
    if path is None:
        return None
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"checkpoint must be a path or None, got {type(path).__name__}")
    if not isinstance(random_state, Integral):
        raise ValueError(
            f"checkpoint needs an integer random_state, got {random_state!r}: a run that goes on must draw "
            "the rows and weights that the first one drew"
        )
    digest = hashlib.sha256(repr(sorted((k, _shown(v)) for k, v in parameters.items())).encode())
    for name, tensor in networks.state_dict().items():
        digest.update(name.encode())
        digest.update(_bytes(tensor))
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return Checkpoint(path, digest.hexdigest(), torch.device(device))


def _shown(value: Any) -> str:
    """A parameter in words that are the same in another process."""
    return getattr(value, "__qualname__", type(value).__qualname__) if callable(value) else repr(value)


def _bytes(tensor: Tensor) -> bytes:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
