"""Files that are there whole or not at all: the one place through which results and models are written."""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FULL", "replacing", "save_arrays", "write_error"]

_TEMPORARY = re.compile(r"\.fastcca-[0-9a-f]{16}\.tmp")
# What a disk says when it takes no more, and does not say of which file.
FULL = {errno.ENOSPC, errno.EFBIG, errno.EIO} | ({errno.EDQUOT} if hasattr(errno, "EDQUOT") else set())


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file next to ``path``, which takes its place when the block ends without an error.

    It is on the disk before it takes the place, so that ``path`` is the old file or the new one also after
    the machine stops. A link stays, what it points to is replaced; the mode of an existing file is kept.
    What a process that was killed has left in the folder is removed by the next that writes there.

    An OSError of the temporary file, or of a full disk, is raised again with ``path``, which the user knows.
    """
    name = os.fspath(path)
    target = Path(os.path.realpath(name))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {os.fspath(target.parent)!r} to save {target.name!r} in")
    mode = _mode_of(name, target)
    _remove_abandoned(target.parent)
    temporary, lock = _create(name, target.parent, 0o666 if mode is None else mode & 0o666 | 0o200)
    try:
        yield temporary
        if not temporary.stat().st_size:
            raise FileNotFoundError(errno.ENOENT, "nothing was written", name)
        _to_disk(temporary, mode)
        os.replace(temporary, target)
        with suppress(OSError):  # not every system lets a folder be opened
            _to_disk(target.parent, None)
    except OSError as error:
        if str(error.filename) == str(temporary) or (error.filename is None and error.errno in FULL):
            raise write_error(error.errno, error.strerror, name, temporary) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if lock is not None:
            os.close(lock)


def write_error(number: int | None, text: str | None, name: str, written: Path) -> OSError:
    """The error of a file that cannot be written, with what the user calls it and how far it came."""
    if number in FULL and written.exists():
        text = f"{text} (after {written.stat().st_size:,} bytes)"
    return OSError(number, text, name)


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """An .npz file of arrays; a disk that fills up is an OSError and nothing else."""
    with path.open("wb") as file:
        try:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        except ValueError as error:  # what closing the archive makes of it
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _mode_of(name: str, target: Path) -> int | None:
    """The mode of the file to be replaced; None where there is none."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", name)
    if not stat.S_ISREG(mode):  # a device or a pipe, in whose place a file would do harm
        raise OSError(errno.EINVAL, "is not a regular file", name)
    return stat.S_IMODE(mode)


def _create(name: str, folder: Path, mode: int) -> tuple[Path, int | None]:
    """A new file and the descriptor that locks it for as long as its process lives."""
    while True:
        temporary = folder / f".fastcca-{secrets.token_hex(8)}.tmp"
        try:
            descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        except OSError as error:
            raise OSError(error.errno, error.strerror, name) from error
        if fcntl is None:
            os.close(descriptor)
            return temporary, None
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            # Nobody has taken it for abandoned before it was locked.
            if os.path.samestat(os.stat(temporary), os.fstat(descriptor)):
                return temporary, descriptor
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    """Remove temporary files whose process is gone: nobody holds their lock."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not _TEMPORARY.fullmatch(entry.name):
                continue
            with suppress(OSError):
                descriptor = os.open(entry.path, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                finally:
                    os.close(descriptor)


def _to_disk(path: Path, mode: int | None) -> None:
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        if mode is not None:
            os.fchmod(descriptor, mode) if hasattr(os, "fchmod") else os.chmod(path, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
