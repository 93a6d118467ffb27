"""Slow, obvious counterparts of the terms of unified semantic embedding, node by node."""

import numpy as np

# A tree is a dict from node to parent, None for the root; rows is a dict from node to its row of U and B.


def ancestors(parents, node):
    """The nodes above a node, the root excepted."""
    above, node = [], parents[node]
    while node is not None and parents[node] is not None:
        above.append(node)
        node = parents[node]
    return above


def siblings(parents, node):
    return [o for o in parents if o != node and parents[o] == parents[node]]


def label_loss(z, own, others, U, loss):
    """One positive node against others: the summed hinge or the softmax of negative distances."""
    near = ((z - U[own]) ** 2).sum()
    gaps = [near - ((z - U[o]) ** 2).sum() for o in others]
    if loss == "hinge":
        return sum(max(0.0, 1.0 + gap) for gap in gaps)
    return np.log1p(sum(np.exp(gap) for gap in gaps))


def class_term(parents, rows, classes, z, label, U, loss):
    others = [rows[c] for c in classes if c != label]
    return label_loss(z, rows[label], others, U, loss)


def superclass_term(parents, rows, z, label, U, loss):
    total = 0.0
    for s in ancestors(parents, label):
        others = [rows[o] for o in siblings(parents, s) if o in rows]
        total += label_loss(z, rows[s], others, U, loss)
    return total


def attribute_term(z, given, A, kind):
    products = [(y, z @ a) for y, a in zip(given, A, strict=True)]
    if kind == "linear":
        return 1.0 - sum(y * p for y, p in products)
    if kind == "squared":
        return np.mean([(p - y) ** 2 for y, p in products])
    return np.mean([abs(y) * max(0.0, 1.0 - np.sign(y) * p) for y, p in products])


def regularizer(parents, rows, U, A, B, gamma1, gamma2):
    total = 0.0
    for node, row in rows.items():
        parent = parents[node]
        above = U[rows[parent]] if parent in rows else np.zeros(U.shape[1])
        total += ((U[row] - above - B[row] @ A) ** 2).sum()
        for other in ancestors(parents, node) + siblings(parents, node):
            if other in rows:
                total += gamma2 * ((B[row] + B[rows[other]]) ** 2).sum()
        total += gamma1 * B[row].sum()
    return total
