"""Blocks of resamples in threads, with a progress bar."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController
from tqdm import tqdm

from fastcca._config import get_num_threads

__all__ = ["in_threads"]

Block = TypeVar("Block")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Block], Result],
    blocks: Iterable[tuple[int, Block]],
    n_threads: int | None,
    *,
    total: int,
    label: str,
    verbose: bool,
) -> Iterator[Result]:
    """``work`` of each block, in order; (count, block) are drawn here, one after the other.

    Each block is worked on by one thread, so that results are the same for any number of them. An exception
    or Ctrl-C ends it after the blocks at hand.
    """
    threads = get_num_threads() if n_threads is None else n_threads
    rest = iter(blocks)
    first = list(islice(rest, 2))
    everything = chain(first, rest)
    with (
        tqdm(total=total, desc=label, disable=not verbose) as bar,
        _libraries().limit(limits=1, user_api="blas"),
    ):
        if threads == 1 or len(first) < 2:  # a thread costs more than a small test
            for count, block in everything:
                yield work(block)
                bar.update(count)
            return
        pending: deque[tuple[int, Future[Result]]] = deque()
        with ThreadPoolExecutor(threads) as pool:
            try:
                for count, block in everything:
                    pending.append((count, pool.submit(work, block)))
                    while len(pending) > threads or (pending and pending[0][1].done()):
                        yield _next(pending, bar)
                while pending:
                    yield _next(pending, bar)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


@cache
def _libraries() -> ThreadpoolController:
    """What is loaded; looked for once, which takes longer than a small test."""
    return ThreadpoolController()


def _next(pending: deque[tuple[int, Future[Result]]], bar: Any) -> Result:
    count, future = pending.popleft()
    result = future.result()
    bar.update(count)
    return result
