"""Damage model files of every class: ``python tests/fuzz/files.py --flips 50000``.

Each file of ``tests/models`` is cut at every length and has bits flipped: all of them one by one as far as
``--flips`` goes, then several at random. A damaged file must be refused by a ValueError, or open as a model
that answers as the whole file does. Every other outcome is printed, and the exit status is then 1.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

import fastcca
from models import FOLDER as MODELS
from models import answer, calls_of


def damaged(content, flips, cuts, seed):
    """What is done and what comes of it: ``flips`` times, then cuts at so many lengths, or at all."""
    rng = np.random.default_rng(seed)
    bits = 8 * len(content)
    single = rng.permutation(bits)[:flips]
    for i in range(flips):
        chosen = [single[i]] if i < bits else rng.integers(bits, size=rng.integers(2, 9))
        changed = bytearray(content)
        for bit in chosen:
            changed[bit // 8] ^= 1 << (bit % 8)
        yield f"bits {[int(bit) for bit in chosen]}", bytes(changed)
    lengths = range(len(content)) if cuts is None else rng.integers(len(content), size=cuts)
    for length in lengths:
        yield f"cut at {length}", content[:length]


def damage(path, scratch, flips, cuts, seed):
    """Counts of what came of it; ``changed`` are those neither refused nor harmless."""
    content = path.read_bytes()
    calls = [steps for steps, _ in calls_of(path)]

    def answers():
        return repr([np.asarray(answer(fastcca.load(scratch), steps)).tolist() for steps in calls])

    scratch.write_bytes(content)
    expected = answers()
    found = {"refused": 0, "harmless": 0, "changed": 0}
    for what, changed in damaged(content, flips, cuts, seed):
        if changed == content:  # two flips of one bit
            found["harmless"] += 1
            continue
        scratch.write_bytes(changed)
        try:
            fastcca.load(scratch)
        except ValueError:
            found["refused"] += 1
            continue
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        else:
            outcome = "" if answers() == expected else "other answers"
        found["changed" if outcome else "harmless"] += 1
        if outcome:
            print(f"{path.name}, {what}: {outcome}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000, help="damaged copies of each file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("files", nargs="*", type=Path, help="by default all of tests/models")
    given = parser.parse_args()
    print(f"{'file':42} {'bytes':>7} {'flips':>7} {'cuts':>7} {'refused':>8} {'harmless':>8} {'changed':>8}")
    total = 0
    start = time.process_time()
    memory = "/dev/shm"  # a file system that does not wait for a disk
    with tempfile.TemporaryDirectory(dir=memory if Path(memory).is_dir() else None) as folder:
        for path in given.files or sorted(MODELS.glob("*.safetensors")):
            size = path.stat().st_size
            found = damage(path, Path(folder) / "damaged.safetensors", given.flips, None, given.seed)
            total += found["changed"]
            counts = " ".join(f"{count:8}" for count in found.values())
            print(f"{path.name:42} {size:7} {given.flips:7} {size:7} {counts}", flush=True)
    print(f"{total} changed; {time.process_time() - start:.0f} s of processor time")
    sys.exit(total > 0)


if __name__ == "__main__":
    main()
