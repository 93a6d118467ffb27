"""Initial weights for the built-in networks: denoising autoencoders below, a linear CCA on top."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fastcca.cca import CCA
from fastcca.deep._training import Networks, Plan, Source, encode
from fastcca.deep.denoising import DenoisingAutoencoder
from fastcca.deep.encoders import MLP

__all__ = ["denoise"]

# Rows that the pretraining sees at most: it initialises, it does not fit.
MAX_ROWS = 20000


def denoise(networks: Networks, sources: list[Source], rows: NDArray[np.intp], plan: Plan) -> None:
    """Sets the weights of two MLPs in place."""
    if len(rows) > MAX_ROWS:
        rows = np.sort(rows[torch.randperm(len(rows)).numpy()[:MAX_ROWS]])
    encoders = [e for e in networks.encoders if isinstance(e, MLP)]
    hidden = []
    for encoder, source in zip(encoders, sources, strict=True):
        *below, _ = encoder.linear_layers()
        if below:
            widths = [layer.out_features for layer in below]
            model = DenoisingAutoencoder(below[0].in_features, widths, encoder.activation)
            model.to(source.device, source.dtype)
            model.fit(source.rows(rows), "lbfgs" if plan.optimizer == "lbfgs" else "adam")
            for layer, trained in zip(below, model.layers, strict=True):
                layer.load_state_dict(trained.state_dict())
        body = nn.Sequential(*list(encoder)[:-1]).eval()
        hidden.append(encode(body, source, plan.chunk, rows).double().cpu().numpy())
    # The outputs begin as the canonical variates of the last hidden layers, of variance 1.
    H1, H2 = hidden
    last = [encoder.linear_layers()[-1] for encoder in encoders]
    k = min(*(layer.out_features for layer in last), H1.shape[1], H2.shape[1])
    cca = CCA(k, reg=(float(1e-2 * H1.var(axis=0).mean()), float(1e-2 * H2.var(axis=0).mean()))).fit(H1, H2)
    found = (cca.x_weights_, cca.x_mean_), (cca.y_weights_, cca.y_mean_)
    for layer, (weights, mean) in zip(last, found, strict=True):
        n_found = weights.shape[1]  # the rank may leave fewer
        with torch.no_grad():
            layer.weight[:n_found] = torch.from_numpy(weights.T).to(layer.weight)
            layer.bias[:n_found] = torch.from_numpy(-(mean @ weights)).to(layer.bias)
