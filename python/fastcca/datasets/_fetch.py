"""Downloads of public data sets into the data home, each file checked against its SHA-256."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from fastcca.datasets._home import get_data_home
from fastcca.datasets._sources import RECORDINGS, SOURCES, Source

__all__ = [
    "fetch_awa",
    "fetch_fashion_mnist",
    "fetch_mnist",
    "fetch_spoken_digits",
    "fetch_wikipedia",
    "fetch_wordnet",
]

Home = str | os.PathLike[str] | None


def fetch_mnist(data_home: Home = None, *, progressbar: bool = True) -> Path:
    """Download MNIST (11 MB) for :func:`load_mnist_halves`; what is there already is not loaded again.

    Parameters
    ----------
    data_home : path or None
        The data home, see :func:`get_data_home`.
    progressbar : bool, default=True
        Whether to show the progress of each file.

    Returns
    -------
    pathlib.Path
        The folder with the files.

    Raises
    ------
    ImportError
        Without pooch: ``pip install 'fastcca[data]'``.
    OSError
        If no address answers.
    ValueError
        If a file that came is not the one that was expected, by its SHA-256. Nothing is kept of it.

    Examples
    --------
    >>> from fastcca.datasets import fetch_mnist
    >>> fetch_mnist()  # doctest: +SKIP
    PosixPath('/home/ada/.cache/fastcca/mnist')
    """
    return _fetch(SOURCES["mnist"], data_home, progressbar)


def fetch_fashion_mnist(data_home: Home = None, *, progressbar: bool = True) -> Path:
    """Download Fashion-MNIST (31 MB, MIT licence); parameters and errors as of :func:`fetch_mnist`.

    Its four files are what :func:`load_fashion` reads. They are of MNIST's format and names; put them into a
    folder ``mnist`` of another data home to use them with :func:`load_mnist_halves`.
    """
    return _fetch(SOURCES["fashion"], data_home, progressbar)


def fetch_spoken_digits(data_home: Home = None, *, progressbar: bool = True) -> Path:
    """Download the recordings for :func:`load_spoken_digits` (16 MB, CC BY-SA 4.0).

    Parameters and errors are those of :func:`fetch_mnist`.
    """
    return _fetch(SOURCES["fsdd"], data_home, progressbar)


def fetch_wikipedia(data_home: Home = None, *, progressbar: bool = True) -> Path:
    """Download the features of documents for :func:`load_wikipedia` (within an archive of images and texts).

    Parameters and errors are those of :func:`fetch_mnist`.
    """
    return _fetch(SOURCES["wikipedia"], data_home, progressbar)


def fetch_wordnet(data_home: Home = None, *, progressbar: bool = True) -> Path:
    """Download WordNet 3.0's nouns, from which :func:`load_awa` and taxonomies make trees (12 MB).

    Parameters and errors are those of :func:`fetch_mnist`. The folder that is returned is a ``source`` of
    :meth:`fastcca.taxonomy.Taxonomy.from_wordnet`.
    """
    return _fetch(SOURCES["wordnet"], data_home, progressbar)


def fetch_awa(data_home: Home = None, *, progressbar: bool = True) -> Path:
    """Download the tables of Animals with Attributes: classes, attributes and the zero-shot split.

    The image features of AwA2 (0.3 GB) have no published checksum and are not loaded: unpack
    ``AwA2-features.zip`` from the data set's home into the data home, as :func:`load_awa` says.

    Parameters and errors are those of :func:`fetch_mnist`.
    """
    return _fetch(SOURCES["awa1"], data_home, progressbar)


def _fetch(source: Source, data_home: Home, progressbar: bool) -> Path:
    folder = get_data_home(data_home) / source.folder
    if not _missing(source, folder):
        return folder
    try:
        import pooch
    except ImportError as error:
        raise ImportError(f"{source.fetch} needs pooch: pip install 'fastcca[data]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    # On the same file system as the folder, so that a file takes its place in one step.
    with TemporaryDirectory(dir=folder, prefix=".fastcca-") as temporary:
        if "archive" in source.urls:
            archive = _download(pooch, source, "archive", Path(temporary), progressbar)
            _unpack(source, archive, folder, Path(temporary))
        else:
            for name in _missing(source, folder):
                path = _download(pooch, source, name, Path(temporary), progressbar)
                _place(source, name, path, folder)
    return folder


def _missing(source: Source, folder: Path) -> list[str]:
    if source.archive is not None:
        return [] if (folder / source.archive).is_file() else [source.archive]
    return [name for name in source.files if not (folder / name).is_file()]


def _download(pooch: Any, source: Source, name: str, temporary: Path, progressbar: bool) -> Path:
    """The file from the first address that answers."""
    failures = []
    for i, url in enumerate(source.urls[name]):
        try:
            found = pooch.retrieve(
                url, known_hash=None, fname=f"{i}-{name}", path=temporary, progressbar=progressbar
            )
            return Path(found)
        except OSError as error:  # requests' errors are OSErrors
            failures.append(f"{url} ({error})")
    raise OSError(
        f"{source.what}: no address answered: {'; '.join(failures)}. Get the files from {source.home} and "
        f"put them into the folder {source.folder!r} of the data home"
    )


def _place(source: Source, name: str, path: Path, folder: Path) -> None:
    found = _content_hash(path)
    if found != source.files[name]:
        raise ValueError(
            f"{source.what}: {name} is not the expected file: the SHA-256 of its content is {found}, "
            f"expected {source.files[name]}"
        )
    os.replace(path, folder / name)


def _content_hash(path: Path) -> str:
    """SHA-256 of a file; of a gzipped one of what it unpacks to."""
    with path.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            with gzip.GzipFile(fileobj=raw) if gzipped else raw as content:
                return _digest(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path.name}: damaged gzip file ({error})") from error


def _digest(content: Any) -> str:
    digest = hashlib.sha256()
    while block := content.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _unpack(source: Source, archive: Path, folder: Path, temporary: Path) -> None:
    """The wanted members, by their last name wherever in the archive they lie; nothing else is unpacked."""
    if source.archive is not None:
        lines = sorted(
            f"{name} {_digest(content)}\n"
            for name, content in _members(source, archive)
            if name.endswith(".wav")
        )
        found = hashlib.sha256("".join(lines).encode()).hexdigest()
        if found != source.files[RECORDINGS]:
            raise ValueError(
                f"{source.what}: the archive is not the expected one: {len(lines)} recordings with the "
                f"SHA-256 {found}, expected {source.files[RECORDINGS]}"
            )
        os.replace(archive, folder / source.archive)
        return
    for name, content in _members(source, archive):
        if name in source.files and not (temporary / name).exists():
            with (temporary / name).open("wb") as file:
                shutil.copyfileobj(content, file)
    if absent := [name for name in source.files if not (temporary / name).exists()]:
        raise ValueError(f"{source.what}: the archive lacks {', '.join(absent)}")
    for name in source.files:  # all are checked before the first takes its place
        _place(source, name, temporary / name, temporary)
    for name in source.files:
        os.replace(temporary / name, folder / name)


def _members(source: Source, archive: Path) -> Iterator[tuple[str, Any]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                for member in packed.infolist():
                    if not member.is_dir():
                        with packed.open(member) as content:
                            yield PurePosixPath(member.filename).name, content
        else:
            with tarfile.open(archive) as tar:
                for entry in tar:
                    file = tar.extractfile(entry) if entry.isfile() else None
                    if file is not None:
                        yield PurePosixPath(entry.name).name, file
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{source.what}: damaged archive ({error})") from error
