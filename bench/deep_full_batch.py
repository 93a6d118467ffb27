"""The full-batch gradient of Deep CCA in chunks: ``python -m bench.deep_full_batch``.

60,000 rows of two views of 392 columns through the networks of Andrew et al.: all rows at once through
PyTorch's autograd, and chunks of 2000 rows as ``DeepCCA(optimizer="lbfgs")`` computes it. Each has a process
of its own, whose memory is read above what the data and the networks take. Their gradients are compared.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from bench.harness import agree, options_and_report, peak_rss_anon

SETUP = """
import numpy as np, torch, fastcca
from fastcca.deep import MLP, CorrelationLoss
from fastcca.deep._correlation_training import Encoders, Plan, full_batch_gradient
from fastcca.deep._training import Source
fastcca.set_num_threads({threads})
torch.set_num_threads({threads})
dtype = torch.{dtype}
torch.manual_seed(0)
Z = torch.randn({n}, 30, dtype=dtype)
views = [(torch.tanh(Z @ torch.randn(30, 392, dtype=dtype)) + torch.randn({n}, 392, dtype=dtype)).numpy()
         for _ in range(2)]
networks = Encoders([MLP(392, [w, 50], "nonsaturating") for w in (2038, 1608)], []).to(dtype)
sources = [Source(v, np.zeros(392), np.ones(392), torch.device("cpu"), dtype) for v in views]
loss = CorrelationLoss(50, 1e-3)
networks.eval()
del Z
loss(*[torch.randn(100, 50, dtype=dtype, requires_grad=True) for _ in range(2)]).backward()
"""
WHOLE = """
loss(*[e(s.rows(slice(None))) for e, s in zip(networks.encoders, sources)]).backward()
"""
CHUNKED = """
full_batch_gradient(networks, sources, Plan(loss=loss, chunk=2000))
"""
SAVE = """
np.save({path!r}, torch.cat([p.grad.flatten() for p in networks.parameters()]).numpy())
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=60000)
    options, report = options_and_report(parser)
    for dtype, bar in (("float32", 1e-4), ("float64", 1e-6)):
        peaks, seconds, gradients = {}, {}, {}
        with tempfile.TemporaryDirectory() as folder:
            for name, work in (("whole", WHOLE), ("chunked", CHUNKED)):
                path = str(Path(folder, f"{name}.npy"))
                setup = SETUP.format(threads=options.threads, dtype=dtype, n=options.rows)
                peaks[name], seconds[name] = peak_rss_anon(setup, work + SAVE.format(path=path))
                gradients[name] = np.load(path).astype(np.float64)
        difference = gradients["chunked"] - gradients["whole"]
        relative = float(np.linalg.norm(difference) / np.linalg.norm(gradients["whole"]))
        agree(f"the gradients in {dtype}", relative <= bar, f"(relative difference {relative:.3g})")
        report.add(
            "d",
            f"n={options.rows}, {dtype}: fraction of the memory",
            1 / 3,
            fraction=peaks["chunked"] / peaks["whole"],
            megabytes=peaks["chunked"] / 1e6,
            whole_megabytes=peaks["whole"] / 1e6,
            relative_difference=relative,
            largest_difference=float(np.abs(difference).max()),
            seconds=seconds["chunked"],
            whole_seconds=seconds["whole"],
        )
    report.save(options.json)


if __name__ == "__main__":
    main()
