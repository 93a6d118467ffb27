"""Where each data set comes from: its home, its licence, and the SHA-256 of the content of every file."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["RECORDINGS", "SOURCES", "Source", "hint"]

# What stands for the 3000 recordings together: the SHA-256 of the lines "<name> <SHA-256>\n" in the order of
# the names.
RECORDINGS = "*.wav"


@dataclass(frozen=True)
class Source:
    """One data set.

    ``files``: file name in ``folder`` of the data home -> SHA-256 of its content, of a .gz of what it
    unpacks to, since mirrors compress differently. ``urls``: file name -> addresses to try in turn; of an
    archive under the name ``archive``.
    """

    what: str
    folder: str
    fetch: str
    home: str
    licence: str
    files: dict[str, str]
    urls: dict[str, tuple[str, ...]] = field(default_factory=dict)
    archive: str | None = None
    note: str = ""


def _idx(*hashes: str) -> dict[str, str]:
    names = [
        f"{split}-{kind}-ubyte.gz" for split in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    ]
    return dict(zip(names, hashes, strict=True))


def _each(files: dict[str, str], *bases: str) -> dict[str, tuple[str, ...]]:
    return {name: tuple(base + name for base in bases) for name in files}


_MNIST = _idx(
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_FASHION = _idx(
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)

SOURCES = {
    source.folder: source
    for source in (
        Source(
            what="MNIST",
            folder="mnist",
            fetch="fetch_mnist",
            home="http://yann.lecun.com/exdb/mnist/",
            licence="as distributed by Y. LeCun, C. Cortes and C. J. C. Burges",
            files=_MNIST,
            urls=_each(
                _MNIST,
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
        ),
        Source(
            what="Fashion-MNIST",
            folder="fashion",
            fetch="fetch_fashion_mnist",
            home="https://github.com/zalandoresearch/fashion-mnist",
            licence="MIT, Zalando SE",
            files=_FASHION,
            urls=_each(
                _FASHION,
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            ),
        ),
        Source(
            what="Free Spoken Digit Dataset",
            folder="fsdd",
            fetch="fetch_spoken_digits",
            home="https://github.com/Jakobovski/free-spoken-digit-dataset",
            licence="CC BY-SA 4.0",
            files={RECORDINGS: "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f"},
            urls={
                "archive": (
                    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
                    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/master.tar.gz",
                )
            },
            archive="fsdd_recordings.tar.gz",
        ),
        Source(
            what="Wikipedia",
            folder="wikipedia",
            fetch="fetch_wikipedia",
            home="http://www.svcl.ucsd.edu/projects/crossmodal/",
            licence="none stated by N. Rasiwasia et al.",
            files={
                "raw_features.mat": "ca628f765a69575e168ab29eb97f5ade12fadf47b31de1328c7ff631c7f225ae",
                "categories.list": "4929f3ee00e9de9ffe11f9ab18fc8919b0f6182cc801309409df2f2d05e2b0f5",
                "trainset_txt_img_cat.list": "30c1ba8afbe90da5986de9b12496b6dd2e4680d3876b79ab7aae2e437d5819a3",
                "testset_txt_img_cat.list": "ec3123ee31cc89dd95fbeb23eb73b2ecfd1d8909bba863723471aad99408c1eb",
            },
            urls={"archive": ("http://www.svcl.ucsd.edu/projects/crossmodal/wikipedia_dataset.zip",)},
        ),
        Source(
            what="WordNet",
            folder="wordnet",
            fetch="fetch_wordnet",
            home="https://wordnet.princeton.edu/",
            licence="WordNet 3.0 licence, Princeton University",
            files={
                "data.noun": "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2",
                "index.noun": "a490d99d93d017bf4822fe2f0ffa51fd73911ce271dc7535fade21f8814b5a04",
            },
            urls={"archive": ("https://wordnetcode.princeton.edu/3.0/WordNet-3.0.tar.gz",)},
        ),
        Source(
            what="Animals with Attributes",
            folder="awa1",
            fetch="fetch_awa",
            home="https://cvml.ista.ac.at/AwA2/",
            licence="none stated for the tables; cite Osherson et al. 1991, Kemp et al. 2006, Lampert et al. 2009",
            files={
                "classes.txt": "691c8c92db822894436225c814252dd2eddf086c75392db4b950d3081de87dfc",
                "predicates.txt": "cf0a47c75895f1b4bdabb08273fb142e78f2b5373c246f1a83b37fe970c3c79f",
                "predicate-matrix-binary.txt": "7bb736f49b12777325c2920df9b196a8809904728f43ee5197d2359c699b6123",
                "predicate-matrix-continuous.txt": (
                    "616ad16c4636a8ab3845c83ddc83e5e24a2d3430dfa4574048674403e59ec146"
                ),
                "trainclasses.txt": "cc7248e05eccc436f7f8337e8ae6f056acd4e4444692851dfd431c8604d522f5",
                "testclasses.txt": "94192a9325beddb4016aec0f68df360c1b72c65e186242b3d53d9ead8d58bc0a",
            },
            urls={
                "archive": (
                    "https://cvml.ista.ac.at/AwA/AwA-base.zip",
                    "https://cvml.ista.ac.at/AwA2/AwA2-base.zip",
                )
            },
            note="the image features, AwA2-features.zip, are to be put there by hand",
        ),
    )
}


def hint(what: str) -> str:
    """How a data set comes into the data home, for an error that says that it is not there."""
    source = next((source for source in SOURCES.values() if what in (source.what, source.folder)), None)
    if source is None:
        return ""
    note = f"; {source.note}" if source.note else ""
    return f"; fastcca.datasets.{source.fetch}() downloads them, their home is {source.home}{note}"
