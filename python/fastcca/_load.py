"""The front door for models in files: of whatever class, it is imported here when a file holds one."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastcca._models.files import Place, class_of, read_model

if TYPE_CHECKING:
    from torch import nn

__all__ = ["load"]

# Where the classes are whose models can be saved; each adds its own to what class_of knows.
PACKAGES = ("cca", "embedding", "fusion", "synchrony", "retrieval")
WITH_NETWORKS = ("deep",)


def load(
    path: Place,
    encoders: "tuple[nn.Module, nn.Module] | Mapping[str, nn.Module] | None" = None,
    decoders: "Mapping[str, nn.Module] | None" = None,
    device: Any = None,
    encoder: "nn.Module | None" = None,
) -> Any:
    """Read a model that an estimator's ``save`` wrote.

    Nothing in the file is executed: it holds arrays and JSON, read without pickle. A file written today
    opens in every later version. ``fastcca.deep.load`` is this function, too.

    Parameters
    ----------
    path : path or binary file
        The file; ``~`` is your home. Or a file open for reading in binary mode, also in memory
        (``io.BytesIO``): the model begins at its position, which afterwards is behind the model.
    encoders : pair of torch.nn.Module or mapping of str to torch.nn.Module, optional
        For a model with encoders of your own: modules of the same architecture, given as they were to the
        estimator. Copies of them receive the weights.
    decoders : mapping of str to torch.nn.Module, optional
        Likewise.
    device : str or torch.device, optional
        Where networks go, by default ``"cpu"``; a model without networks has nothing to put there.
    encoder : torch.nn.Module, optional
        For a model of one encoder of your own: a module of the same architecture.

    Returns
    -------
    estimator
        Fitted, of the class that was saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If the file holds networks and PyTorch is not installed.
    TypeError
        If ``path`` is neither a path nor a file open in binary mode.
    ValueError
        If the file is damaged, is not a fastcca model, was written by a newer version, or holds a class of
        your own that was not imported; if ``encoder``, ``encoders`` or ``decoders`` lack, or do not fit.

    Examples
    --------
    >>> import io
    >>> import numpy as np, fastcca, tempfile, pathlib
    >>> X = np.random.default_rng(0).normal(size=(50, 3))
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> fastcca.CCA().fit(X, X[:, :2]).save(path)
    >>> fastcca.load(path).predict(X).shape
    (50, 2)
    >>> fastcca.load(io.BytesIO(path.read_bytes())).predict(X).shape
    (50, 2)
    """
    given = {"encoders": encoders, "decoders": decoders, "device": device, "encoder": encoder}
    return read_model(path, _find, given)


def _find(name: str, networks: bool) -> None:
    """Import the class of a schema, if it is one of ours."""
    for package in WITH_NETWORKS if networks else PACKAGES:
        import_module(f"fastcca.{package}")
        if class_of(name) is not None:
            return
