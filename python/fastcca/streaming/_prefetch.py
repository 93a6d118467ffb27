"""An iterable that is run ahead of its consumer, in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

from fastcca._arguments.parameters import POSITIVE_INTEGER

__all__ = ["prefetch"]

T = TypeVar("T")
# Seconds after which a thread that waits looks whether anybody wants its items still.
PATIENCE = 0.1


def prefetch(items: Iterable[T], depth: int = 1) -> Generator[T, None, None]:
    """The same items, the next of them made in another thread while one is worked on.

    Worth it where the items are read or decoded: that and the arithmetic take turns otherwise.

    Parameters
    ----------
    items : iterable
        Run in a thread of its own, in its order.
    depth : int, default=1
        Items that are kept ready. Two more are in memory: the one in use, and the one being made.

    Yields
    ------
    item
        As ``items`` has them.

    Raises
    ------
    Exception
        Whatever ``items`` raises, behind the items before it.

    Examples
    --------
    >>> from fastcca.streaming import prefetch
    >>> list(prefetch(range(4), depth=2))
    [0, 1, 2, 3]
    """
    return _ahead(items, POSITIVE_INTEGER("depth", depth))


def _ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    ready: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, item: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, item), timeout=PATIENCE)
                return True
            except queue.Full:
                pass
        return False

    def work() -> None:
        try:
            for item in items:
                if not put("item", item):
                    return
                del item  # what is handed on is not kept
        except BaseException as error:
            put("error", error)
        else:
            put("end", None)
        finally:
            if hasattr(items, "close"):  # a generator that nobody asks on lets go of its files
                items.close()

    thread = threading.Thread(target=work, name="fastcca-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = ready.get()
            if kind == "error":
                raise item
            if kind == "end":
                return
            yield item
            del item
    finally:
        stopped.set()
        thread.join(timeout=1.0)  # one that hangs in a read is not waited for
