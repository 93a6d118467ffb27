"""The exact search by the matrix unit, where the CPU has one: the same bits as without it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastcca import _core
from fastcca.functional import top_k

pytestmark = [
    pytest.mark.core,
    pytest.mark.skipif(not _core.use_amx(), reason="no AMX at this CPU level, or FASTCCA_AMX=0"),
]

SIMILARITIES = ["inner_product", "cosine", "euclidean"]
M, D = 4000, 40


@pytest.fixture
def without():
    def search(*args, **options):
        _core.allow_amx(False)
        try:
            assert not _core.use_amx()
            return top_k(*args, **options)
        finally:
            _core.allow_amx(True)

    return search


def same(a, b):
    return all(x.tobytes() == y.tobytes() for x, y in zip(a, b, strict=True))


def rising(rng):
    return rng.normal(size=(M, D)) * 0.01 + np.linspace(0, 1, M)[:, None]


def clusters(rng):
    return 5 * rng.normal(size=(30, D))[rng.integers(0, 30, M)] + rng.normal(size=(M, D)) * 0.1


def lengths(rng):
    return rng.normal(size=(M, D)) * np.exp(rng.normal(size=(M, 1)) * 4)


def nothing(rng):
    G = rng.normal(size=(M, D))
    G[::3] = 0
    G[1::5] *= 1e-42
    return G


GALLERIES = {
    "normal": lambda rng: rng.normal(size=(M, D)),
    "whole numbers": lambda rng: rng.integers(-1, 2, size=(M, D)),
    "duplicates": lambda rng: rng.normal(size=(50, D))[rng.integers(0, 50, M)],
    "constant": lambda rng: np.full((M, D), 1.25),
    "nearly equal": lambda rng: rng.normal(size=D) + 1e-4 * rng.normal(size=(M, D)),
    "far away": lambda rng: rng.normal(size=(M, D)) + 3e3,
    "lengths": lengths,
    "clusters": clusters,
    "rising": rising,
    "falling": lambda rng: rising(rng)[::-1],
    "zero and subnormal rows": nothing,
}


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("kind", GALLERIES)
def test_same_bits(rng, without, kind, similarity):
    gallery = GALLERIES[kind](rng).astype(np.float32)
    near = gallery[rng.integers(0, M, 70)] + 0.1 * rng.normal(size=(70, D))
    queries = np.vstack([near, rng.normal(size=(70, D)), gallery[:5]]).astype(np.float32)
    for k in (1, 10, 100):
        expected = without(queries, gallery, k, similarity=similarity)
        for n_threads in (1, 3):
            assert same(top_k(queries, gallery, k, similarity=similarity, n_threads=n_threads), expected)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e-20, 1e-10, 1e10, 1e16])
def test_small_and_large_numbers(rng, without, scale, similarity):
    gallery = (rng.normal(size=(5000, D)) * scale).astype(np.float32)
    queries = rng.normal(size=(64, D)).astype(np.float32)
    for factor in (1, scale, min(1 / scale, 1e15)):
        q = (queries * np.float64(factor)).astype(np.float32)
        expected = without(q, gallery, 10, similarity=similarity)
        assert same(top_k(q, gallery, 10, similarity=similarity), expected)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("d", [1, 15, 16, 31, 64, 129, 1000])
def test_sizes(rng, without, d, similarity):
    for m, k in ((1, 1), (48, 48), (97, 5), (4000, 4000)):
        gallery = rng.normal(size=(m, d)).astype(np.float32)
        for n in (63, 64, 81):
            queries = rng.normal(size=(n, d)).astype(np.float32)
            expected = without(queries, gallery, k, similarity=similarity)
            assert same(top_k(queries, gallery, k, similarity=similarity), expected)


def test_layouts(rng, without):
    gallery, queries = rng.normal(size=(2, 3000, 40)).astype(np.float32)
    for G in (np.asfortranarray(gallery), gallery[::-1, ::2], gallery[:, ::-1]):
        Q = queries[:100, : G.shape[1]]
        assert same(top_k(Q, G, 6, similarity="euclidean"), without(Q, G, 6, similarity="euclidean"))


def test_what_is_not_finite_is_found(rng):
    gallery = rng.normal(size=(3000, 40)).astype(np.float32)
    queries = gallery[:100].copy()
    gallery[2345, 6] = np.nan
    for similarity in SIMILARITIES:
        with pytest.raises(ValueError, match="gallery contains NaN: the first is at row 2345, column 6"):
            top_k(queries, gallery, 3, similarity=similarity)


SEARCH = """
import hashlib, os, numpy as np
from fastcca import _core
from fastcca.functional import top_k
rng = np.random.default_rng(0)
gallery, queries = rng.normal(size=(20000, 48)), rng.normal(size=(200, 48))
def search():
    found = top_k(queries.astype(np.float32), gallery.astype(np.float32), 9, similarity="euclidean")
    return hashlib.sha256(b"".join(a.tobytes() for a in found)).hexdigest()
first = search()
pid = os.fork()
if pid == 0:
    os._exit(0 if search() == first else 1)
assert os.waitpid(pid, 0)[1] == 0
print(_core.use_amx(), first)
"""


def test_the_environment_and_forked_children():
    def run(**environment):
        run = subprocess.run(
            [sys.executable, "-c", SEARCH],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return run.stdout.split()

    with_amx, without_amx = run(), run(FASTCCA_AMX="0")
    assert (with_amx[0], without_amx[0]) == ("True", "False")
    assert with_amx[1] == without_amx[1]
