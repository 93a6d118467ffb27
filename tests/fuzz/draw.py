"""What a case is made of: arrays of odd values, layouts and types, and odd parameters, all from one seed."""

import numpy as np

ODD_COUNTS = (0, -1, 2**31, 2**63, 2**70, -(2**70), True, 1.5, np.nan, np.inf, "3", None, np.int8(3), [2])
ODD_REALS = (0.0, -0.0, -1.0, np.nan, np.inf, -np.inf, 1e300, 1e-300, 5e-324, 1.7e308, "1", None, True, [1.0])
SCALES = (1e-320, 1e-300, 1e-160, 1e-40, 1e-20, 1e-8, 1e8, 1e20, 1e38, 1e150, 1e300)


class Liar:
    """An object that claims another shape than its array has."""

    def __init__(self, array, shape):
        self._array, self.shape, self.ndim, self.dtype = array, shape, len(shape), array.dtype

    def __array__(self, dtype=None, copy=None):
        return self._array if dtype is None else self._array.astype(dtype)

    def __len__(self):
        return self.shape[0]


class Draw:
    """A stream of random choices. ``tame`` cases have ordinary values, whose results can be compared."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.tame = self.chance(0.4)
        # at most so many odd things in a case: beyond, nothing but the first refusal is seen
        self.odd_things = 0 if self.tame else int(self.rng.choice([0, 1, 1, 1, 2, 3]))

    def chance(self, p):
        return bool(self.rng.random() < p)

    def pick(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def odd(self, p=0.3):
        """Whether to do something odd here."""
        if self.odd_things > 0 and self.chance(p):
            self.odd_things -= 1
            return True
        return False

    def size(self, low=1, high=12):
        if self.odd(0.05):
            return 0
        return int(self.rng.integers(low, high + 1))

    def count(self, low, high, *, none=False, odd=0.06):
        """An integer from low to high; seldom None, or something that is no such number."""
        if self.odd(odd):
            return self.pick(*ODD_COUNTS)
        if none and self.chance(0.4):
            return None
        return int(self.rng.integers(low, max(low, high) + 1))

    def real(self, *good, odd=0.06):
        return self.pick(*ODD_REALS) if self.odd(odd) else self.pick(*good)

    def word(self, *good):
        return self.pick("unknown", 3, None, "", b"rbf") if self.odd(0.03) else self.pick(*good)

    def threads(self):
        return self.count(1, 4, none=True, odd=0.02)

    # ---- arrays

    def values(self, n, d):
        """Numbers of an (n, d) array, in float64."""
        x = self.rng.normal(size=(n, d))
        if self.tame or n == 0 or d == 0:
            return x
        kind = self.pick(
            "normal", "normal", "integers", "low rank", "sum", "mean", "zeros", "scaled", "columns"
        )
        if kind == "integers":
            x = np.rint(3 * x)
        elif kind == "low rank":
            x = x[:, :1] @ self.rng.normal(size=(1, d))
        elif kind == "sum":
            x[:, -1] = x[:, :-1].sum(axis=1)
        elif kind == "mean":
            x += self.pick(1e3, 1e8, 1e15)
        elif kind == "zeros":
            x[self.rng.random(size=x.shape) < 0.7] = 0
        elif kind == "scaled":
            x = x * self.pick(*SCALES)
        elif kind == "columns":
            x *= 10.0 ** self.rng.integers(-9, 9, size=d)
        if self.odd(0.3):
            i, j = int(self.rng.integers(n)), int(self.rng.integers(d))
            where = self.pick((i, j), (i, slice(None)), (slice(None), j))
            x[where] = self.pick(np.nan, np.inf, -np.inf, 1e20, 9.97e36, -3.4e38, 1e-310, 1e308, 0.0, 5.0)
        return x

    def matrix(self, n, d, *, lay_out=True):
        with np.errstate(all="ignore"):
            x = self.values(n, d)
            x = x.astype(self.pick(np.float64, np.float64, np.float32))
            return self.laid_out(x) if lay_out else x

    def laid_out(self, x):
        """The same numbers in another layout, and sometimes of another type."""
        n, d = x.shape
        kind = self.pick("C", "C", "F", "reversed", "strided", "columns", "read-only", "swapped", "unaligned")
        if kind == "F":
            x = np.asfortranarray(x)
        elif kind == "reversed":
            x = x[::-1, ::-1].copy()[::-1, ::-1]
        elif kind == "strided":
            wide = np.full((2 * n + 1, d), np.nan, dtype=x.dtype)
            wide[1::2] = x
            x = wide[1::2]
        elif kind == "columns":
            wide = np.full((n, 3 * d + 1), np.nan, dtype=x.dtype)
            wide[:, 1::3] = x
            x = wide[:, 1::3]
        elif kind == "read-only":
            x.flags.writeable = False
        elif kind == "swapped":
            x = x.astype(x.dtype.newbyteorder())
        elif kind == "unaligned":
            raw = np.zeros(x.nbytes + 1, dtype=np.uint8)
            raw[1:] = np.frombuffer(np.ascontiguousarray(x).tobytes(), dtype=np.uint8)
            x = raw[1:].view(x.dtype).reshape(x.shape)
        return self.disguised(x) if self.odd(0.15) else x

    def disguised(self, x):
        """Something that is no array of floats of two dimensions, or pretends to be another."""
        n, d = x.shape
        with np.errstate(all="ignore"):
            return self.pick(
                lambda: x.tolist(),
                lambda: x.astype(np.float16),
                lambda: np.nan_to_num(x).clip(-100, 100).astype(np.int8),
                lambda: x > 0,
                lambda: x.astype(np.longdouble),
                lambda: x.astype(complex),
                lambda: x.astype(object),
                lambda: x.astype(str),
                lambda: x.astype(str).astype(object),
                lambda: x[:, 0] if d else x,
                lambda: x[None],
                lambda: x.ravel(),
                lambda: np.float64(3),
                lambda: np.ma.masked_greater(x, 0),
                lambda: np.broadcast_to(x[:1], x.shape) if n else x,
                lambda: (
                    np.lib.stride_tricks.as_strided(x, x.shape, (x.itemsize, x.itemsize))
                    if x.flags.c_contiguous
                    else x
                ),
                lambda: Liar(x, (n + 1000, d)),
                lambda: Liar(x, (n, d + 1000)),
                lambda: Liar(x, (n,)),
                lambda: memoryview(np.ascontiguousarray(x)) if x.size else x,
                lambda: np.zeros(n, dtype=[("a", "f8"), ("b", "f4")]),
                lambda: None,
                lambda: "an array",
                lambda: {"a": 1},
                lambda: (
                    x.astype("M8[s]") if np.isfinite(x).all() and np.abs(x).max(initial=0) < 1e9 else None
                ),
            )()

    def labels(self, n, n_classes):
        y = self.rng.integers(n_classes, size=n)
        if self.odd(0.1):
            return self.pick(
                y.astype(float),
                y - 1,
                y + 2**40,
                y.astype(object),
                y.astype(np.uint8),
                y[:-1],
                y[:, None],
                np.where(y == 0, np.nan, y),
                None,
                ["a"] * n,
                np.full(n, 2**63, dtype=np.uint64),
            )
        return y

    def weights(self, n):
        if self.chance(0.6):
            return None
        w = self.rng.uniform(0.5, 2, size=n)
        if self.tame:
            return w
        if self.chance(0.5) and n:
            w[self.rng.integers(n)] = 0
        if self.odd(0.3):
            with np.errstate(all="ignore"):
                scaled = [w * 1e300, w * 1e308, w * 1e-300, -w, w * np.nan]
            return self.pick(*scaled, w[:-1], w[:, None], np.zeros(n), "balanced", 3.0, None)
        return w
