"""WordNet's noun files: from a noun to its synset, from a synset to its hypernyms.

``data.noun`` has a line a synset, which starts at the byte that is the synset's offset; ``index.noun`` has a
line a lemma with the offsets of its senses, the most frequent first. The formats are those of the manual
page wndb(5).
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["hypernym_tree"]


class _Synset(NamedTuple):
    lemma: str
    hypernym: int | None  # the first one, None at the top


class _Nouns:
    """The two files in memory."""

    def __init__(self, source: Any) -> None:
        if isinstance(source, str | os.PathLike):
            folder = Path(source)
            self.name = os.fspath(folder)
            for name in ("data.noun", "index.noun"):
                if name == "data.noun" and not (folder / name).is_file():
                    raise FileNotFoundError(
                        f"WordNet: there is no file {folder / name} (source must be the folder that has it, "
                        "such as Debian's wordnet-base installs, or nltk's reader)"
                    )
            self._data = (folder / "data.noun").read_bytes()
            index = folder / "index.noun"
            self._index = index.read_bytes() if index.is_file() else None
        elif callable(getattr(source, "open", None)):  # nltk's corpus readers give their files
            self.name = type(source).__name__
            self._data, self._index = (_bytes(source.open(name)) for name in ("data.noun", "index.noun"))
        else:
            raise TypeError(
                f"source must be a folder or nltk's WordNet reader, got {type(source).__name__}: {source!r}"
            )

    def synset(self, offset: int) -> _Synset:
        end = self._data.find(b"\n", offset)
        line = self._data[offset : end if end >= 0 else None].decode("utf-8", "replace")
        # offset lex_filenum ss_type w_cnt (hex) word lex_id … p_cnt symbol offset pos source/target … | gloss
        fields = line.split("|")[0].split()
        try:
            if int(fields[0]) != offset:
                raise ValueError
            first = 5 + 2 * int(fields[3], 16)
            pointers = [fields[first + 4 * i : first + 4 * i + 4] for i in range(int(fields[first - 1]))]
            above = {
                symbol: int(to) for symbol, to, pos, _ in reversed(pointers) if pos == "n" and "@" in symbol
            }
        except (IndexError, ValueError):
            raise ValueError(
                f"{self.name}: data.noun has no synset at byte {offset}: {line[:40]!r}"
            ) from None
        return _Synset(fields[4], above.get("@", above.get("@i")))

    def senses(self, lemma: str) -> list[int]:
        """Offsets of the senses of a lemma, the most frequent first."""
        if self._index is None:
            raise FileNotFoundError(
                f"WordNet: there is no file {Path(self.name) / 'index.noun'}, which looking {lemma!r} up "
                "needs (offsets of synsets do without)"
            )
        if not lemma:  # the licence above the entries is indented
            raise ValueError(f"WordNet has no noun {lemma!r}")
        start = self._index.find(b"\n" + lemma.encode() + b" ")
        if start < 0 and not self._index.startswith(lemma.encode() + b" "):
            raise ValueError(f"WordNet has no noun {lemma!r}")
        fields = self._index[start + 1 :].split(b"\n", 1)[0].split()
        # lemma pos synset_cnt p_cnt [symbol …] sense_cnt tagsense_cnt offset …
        return [int(offset) for offset in fields[len(fields) - int(fields[2]) :]]

    def path(self, offset: int) -> list[int]:
        """The synset and its first hypernyms up to the top."""
        path = [offset]
        while (above := self.synset(path[-1]).hypernym) is not None:
            if above in path:
                raise ValueError(f"{self.name}: the hypernyms above byte {offset} go round in a circle")
            path.append(above)
        return path

    def find(self, noun: Any, below: int | None) -> int:
        """The offset of the synset that a noun stands for."""
        if match := re.fullmatch(r"(\d{8})(-n)?", str(noun)):
            return int(match[1])
        lemma = re.sub(r"[ +]", "_", str(noun)).lower()
        if match := re.fullmatch(r"(.+)\.n\.(\d+)", lemma):
            senses = self.senses(match[1])
            if not 1 <= int(match[2]) <= len(senses):
                raise ValueError(f"{noun!r}: WordNet has {len(senses)} senses of the noun {match[1]!r}")
            return senses[int(match[2]) - 1]
        senses = self.senses(lemma)
        chosen = (offset for offset in senses if below is None or below in self.path(offset))
        if (found := next(chosen, None)) is None:
            raise ValueError(
                f"{noun!r}: none of the {len(senses)} senses that WordNet has of this noun is below "
                f"{self.synset(below or 0).lemma!r}"
            )
        return found


def _bytes(file: Any) -> bytes:
    with file:
        content = file.read()
    return content.encode() if isinstance(content, str) else bytes(content)


def hypernym_tree(labels: Mapping[Any, Any], source: Any, below: str | None) -> dict[Any, Any]:
    """Parent of each label and of each synset above one, ``None`` at the top."""
    nouns = _Nouns(source)
    limit = None if below is None else nouns.find(below, None)
    names: dict[int, Any] = {}
    for label, noun in labels.items():
        offset = nouns.find(noun, limit)
        if offset in names:
            raise ValueError(
                f"{names[offset]!r} and {label!r} are the same synset of WordNet, {offset:08d}-n"
            )
        names[offset] = label
    taken = set(names.values())
    parents: dict[int, int | None] = {}
    for offset in list(names):
        path = nouns.path(offset)
        for child, parent in zip(path, [*path[1:], None], strict=True):
            parents.setdefault(child, parent)
    for offset in parents:
        if offset not in names:
            name = nouns.synset(offset).lemma
            names[offset] = f"{name} ({offset:08d})" if name in taken else name
            taken.add(names[offset])
    return {names[node]: None if above is None else names[above] for node, above in parents.items()}
