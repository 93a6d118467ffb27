"""Unified semantic embedding on networks: ``python -m bench.deep_use operator`` or ``… page``.

``operator``: the hinge loss against the pairs of a taxonomy, forward and backward in float32, against two
eager expressions of PyTorch with autograd at the same number of threads; the faster one counts.

``page``: Fashion-MNIST with a taxonomy and attributes, one CNN for all rows of the table; it writes
docs/results/fashion.md. Results are kept in ``--cache``, from which an interrupted run goes on; ``--part``
runs one of the parts.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.deep_use_page import PARTS, page
from bench.harness import Report, agree, limit_threads, time_together
from fastcca.deep import HingeEmbeddingLoss
from fastcca.functional import ConstraintTable

# (B, d, nodes), calls
SIZES = [(256, 100, 80, 25), (1024, 256, 1500, 10)]


def tree_table(n_nodes: int, seed: int = 0) -> tuple[ConstraintTable, int]:
    """L_S of a tree of about that many nodes, five children a node: each ancestor against its siblings."""
    parent = np.array([-1, *((i - 1) // 5 for i in range(1, n_nodes + 1))])  # 0 is the root
    inner = set(parent.tolist())
    leaves = [i for i in range(1, n_nodes + 1) if i not in inner]
    others = [i for i in range(1, n_nodes + 1) if i in inner]
    place = {node: row for row, node in enumerate([*leaves, *others])}
    siblings = {i: [j for j in range(1, n_nodes + 1) if parent[j] == parent[i] and j != i] for i in others}
    constraints = []
    for leaf in leaves:
        pairs, node = [], int(parent[leaf])
        while node > 0:
            if siblings[node]:
                pairs.append((place[node], [place[s] for s in siblings[node]]))
            node = int(parent[node])
        constraints.append(pairs)
    return ConstraintTable.from_lists(constraints), len(leaves)


class Masked:
    """All distances; a mask of each pair's negative nodes."""

    def __init__(self, table: ConstraintTable, n_nodes: int) -> None:
        self.pairs = np.diff(table.class_start)
        self.table = table
        negative = np.zeros((table.n_pairs, n_nodes), dtype=bool)
        for j in range(table.n_pairs):
            negative[j, table.negatives[table.negative_start[j] : table.negative_start[j + 1]]] = True
        self.negative, self.positive = torch.from_numpy(negative), torch.from_numpy(table.positives.copy())
        self.start, self.count = torch.from_numpy(table.class_start.copy()), torch.from_numpy(self.pairs)

    def __call__(self, Z: Tensor, U: Tensor, y: Tensor) -> Tensor:
        D = Z.square().sum(1, keepdim=True) - 2 * Z @ U.T + U.square().sum(1)
        row = torch.repeat_interleave(torch.arange(len(y)), self.count[y])
        pair = torch.cat([torch.arange(int(self.start[c]), int(self.start[c + 1])) for c in y.tolist()])
        v = 1 + D[row, self.positive[pair]][:, None] - D[row]
        return (v.clamp(min=0) * self.negative[pair]).sum() / len(y)


class Gathered:
    """Only the distances that count, by indices of the batch's constraints."""

    def __init__(self, table: ConstraintTable) -> None:
        positive = np.repeat(table.positives, np.diff(table.negative_start))
        start = table.negative_start[table.class_start]
        self.positive, self.negative = torch.from_numpy(positive), torch.from_numpy(table.negatives.copy())
        self.start = torch.from_numpy(start)

    def __call__(self, Z: Tensor, U: Tensor, y: Tensor) -> Tensor:
        D = Z.square().sum(1, keepdim=True) - 2 * Z @ U.T + U.square().sum(1)
        first, count = self.start[y], self.start[y + 1] - self.start[y]
        row = torch.repeat_interleave(torch.arange(len(y)), count)
        before = torch.repeat_interleave(count.cumsum(0) - count, count)
        entry = torch.arange(len(row)) - before + first[row]
        v = 1 + D[row, self.positive[entry]] - D[row, self.negative[entry]]
        return v.clamp(min=0).sum() / len(y)


def step(loss: object, Z: Tensor, U: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = Z.detach().requires_grad_(), U.detach().requires_grad_()
    value = loss(a, b, y)  # type: ignore[operator]
    grad_a, grad_b = torch.autograd.grad(value, (a, b))
    return value.detach(), grad_a, grad_b


def operator(report: Report) -> None:
    for B, d, n_nodes, calls in SIZES:
        table, n_classes = tree_table(n_nodes)
        torch.manual_seed(0)
        Z, U, y = torch.randn(B, d) / d**0.5, torch.randn(n_nodes, d) / d**0.5, torch.randint(n_classes, (B,))
        losses = {
            "ours": HingeEmbeddingLoss(table=table),
            "masked": Masked(table, n_nodes),
            "gathered": Gathered(table),
        }
        exact = step(losses["gathered"], Z.double(), U.double(), y)
        for name, loss in losses.items():
            ours = step(loss, Z, U, y)
            near = all(
                bool((a.double() - b).norm() <= 1e-4 * b.norm()) for a, b in zip(ours, exact, strict=True)
            )
            agree(f"{name} at {(B, d, n_nodes)}", near)
        seconds = time_together({name: partial(step, loss, Z, U, y) for name, loss in losses.items()}, calls)
        eager = min(seconds["masked"], seconds["gathered"])
        what = f"({B}, {d}, {n_nodes}) {table.n_pairs} pairs"
        report.add("b", f"{what}: eager / ours", ratio=eager / seconds["ours"], target=2.0)
        report.add("b", f"{what}: seconds", **seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=["operator", "page"])
    parser.add_argument("--threads", type=int, default=2, help="of the operator")
    parser.add_argument("--json", help="where the operator's figures go")
    parser.add_argument("--allow-slow-numpy", action="store_true")
    parser.add_argument("--seeds", type=int, default=5, help="with 30 images a class")
    parser.add_argument("--all-seeds", type=int, default=3, help="with all images")
    parser.add_argument("--jobs", type=int, default=2, help="processes of one thread")
    parser.add_argument("--cache", type=Path, default=Path("fashion-results"), help="folder of the results")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="fewer images and epochs, to see that it runs")
    args = parser.parse_args()
    if args.what == "page":
        cache = args.cache / "quick" if args.quick else args.cache
        page(args.seeds, args.all_seeds, args.jobs, cache, args.part or PARTS, args.quick)
        return
    report = Report(args.threads, args.allow_slow_numpy)
    torch.set_num_threads(args.threads)
    with limit_threads(args.threads):
        operator(report)
    report.save(args.json)


if __name__ == "__main__":
    main()
