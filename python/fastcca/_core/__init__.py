"""Picks the core that was built for this CPU and offers its functions."""

import importlib
import importlib.util
import os

from fastcca._core import _bindings

LEVELS = ("v4", "v3", "v2", "generic")  # best first


def _built() -> list[str]:
    return [level for level in LEVELS if importlib.util.find_spec(f"{__name__}._core_{level}")]


def _choose() -> str:
    built = _built()
    usable = [level for level in built if _bindings.cpu_supports(level)]
    wanted = os.environ.get("FASTCCA_ISA")
    if not wanted:
        if usable:
            return usable[0]
        raise ImportError(f"fastcca was built for the CPU levels {built}, none of which this CPU supports")
    if wanted not in built:
        raise ImportError(f"FASTCCA_ISA={wanted!r}: the levels built are {built}")
    if wanted not in usable:
        raise ImportError(
            f"FASTCCA_ISA={wanted!r}: this CPU does not support that level; it supports {usable}"
        )
    return wanted


levels_built = _built()
_bindings.use_level(importlib.import_module(f"{__name__}._core_{_choose()}").table)
globals().update({name: value for name, value in vars(_bindings).items() if not name.startswith("_")})
