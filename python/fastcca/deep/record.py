"""Activations of a network, collected for comparisons of its layers: :func:`record`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch

from fastcca.similarity import Activations

__all__ = ["record"]

Reduce = str | Callable[[torch.Tensor], torch.Tensor]


def record(
    model: torch.nn.Module | Mapping[str, torch.nn.Module],
    layers: Sequence[str] | Mapping[str, Sequence[str]],
    loader: Iterable[Any],
    *,
    reduce: Reduce = "mean",
    groups: int = 0,
    debiased: bool = True,
    device: Any = None,
    n_threads: int | None = None,
) -> Activations:
    """Run a network over batches and collect what comparisons of its layers need; no activation is kept.

    The outputs of the layers are read by forward hooks, which are removed again whatever happens; the network
    runs in evaluation mode without gradients, and is left in the mode that it was in.

    Parameters
    ----------
    model : torch.nn.Module, or mapping of str to torch.nn.Module
        The network; or several, whose layers are compared with one another. The layers of several are named
        "network.layer".
    layers : sequence of str, or mapping of str to sequence of str
        Names of modules as ``model.named_modules()`` has them; for several networks, of each.
    loader : iterable of tensors or of tuples or lists that begin with one
        Batches of inputs, of at least two rows the first.
    reduce : {"mean", "flatten"} or callable, default="mean"
        What becomes of outputs of more than two dimensions: the mean over all after the second (positions of
        an image; of a transformer the tokens are the second, so give a function), all flattened to columns,
        or a function of the output that returns a tensor of shape (n, columns).
    groups, debiased : int, bool
        As in :class:`fastcca.similarity.Activations`.
    device : torch device, optional
        Where to move the inputs; by default that of the network's first parameter.
    n_threads : int, optional
        As in :class:`fastcca.similarity.Activations`.

    Returns
    -------
    Activations
        For :func:`fastcca.similarity.compare`.

    Raises
    ------
    ValueError
        For a name that is no module, a layer that a batch does not reach or reaches twice, no layer at all,
        or an empty loader.
    TypeError
        For outputs that are not tensors.

    Examples
    --------
    >>> import torch
    >>> from fastcca.deep import record
    >>> from fastcca.similarity import compare
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    >>> activations = record(net, ["0", "2"], torch.randn(10, 20, 5))
    >>> activations.n, compare(activations).names
    (200.0, ('0', '2'))
    """
    networks: dict[str, torch.nn.Module] = dict(model) if isinstance(model, Mapping) else {"": model}
    of_network = dict(layers) if isinstance(layers, Mapping) else {"": list(layers)}
    if set(networks) != set(of_network):
        raise ValueError(
            f"layers must name those of each network, {sorted(networks)}, got {sorted(of_network)}"
        )
    if not callable(reduce) and reduce not in ("mean", "flatten"):
        raise ValueError(f"reduce must be 'mean', 'flatten' or a function, got {reduce!r}")
    modules: dict[str, torch.nn.Module] = {}
    for network, names in of_network.items():
        known = dict(networks[network].named_modules())
        for name in names:
            if name not in known:
                raise ValueError(
                    f"the network has no module {name!r}: there are {', '.join(filter(None, known))}"
                )
            key = f"{network}.{name}" if network else name
            if key in modules:
                raise ValueError(f"layer {key!r} is named twice")
            modules[key] = known[name]
    if not modules:
        raise ValueError("layers must name at least one module, got none")
    activations = Activations(groups, debiased, n_threads)
    outputs: dict[str, torch.Tensor] = {}

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def keep(module: Any, inputs: Any, output: Any) -> None:
            if not isinstance(output, torch.Tensor):
                raise TypeError(f"the output of layer {name!r} must be a tensor, got {type(output).__name__}")
            if name in outputs:
                raise ValueError(f"layer {name!r} runs twice in one pass: name the modules around it")
            outputs[name] = _columns(output.detach(), reduce)

        return keep

    modes = {name: net.training for name, net in networks.items()}
    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        for net in networks.values():
            net.eval()
        with torch.no_grad():
            for batch in loader:
                inputs = batch[0] if isinstance(batch, (tuple, list)) else batch
                for net in networks.values():
                    net(inputs.to(_device(net, device)))
                missing = [name for name in modules if name not in outputs]
                if missing:
                    raise ValueError(f"layer {missing[0]!r} was not reached by the batch")
                activations.update({name: _array(outputs[name]) for name in modules})
                outputs.clear()
    finally:
        for handle in handles:
            handle.remove()
        for name, net in networks.items():
            net.train(modes[name])
    if not activations.names:
        raise ValueError("the loader gave no batch")
    return activations


def _columns(output: torch.Tensor, reduce: Reduce) -> torch.Tensor:
    if callable(reduce):
        return reduce(output)
    if output.dim() < 2:
        return output.reshape(-1, 1)
    if output.dim() == 2:
        return output.clone()  # an in-place layer after it must not change what was seen
    flat = output.flatten(2)
    return flat.mean(dim=2) if reduce == "mean" else output.flatten(1).clone()


def _array(output: torch.Tensor) -> Any:
    output = output.cpu()
    return (output if output.dtype == torch.float64 else output.float()).numpy()


def _device(network: torch.nn.Module, device: Any) -> Any:
    if device is not None:
        return device
    parameter = next(network.parameters(), None)
    return "cpu" if parameter is None else parameter.device
