"""Processes that add conflicting regions and print each answer as soon as they have it."""

import json
import sys
import time
from pathlib import Path

import numpy as np

from ddrs.memory.memory import Memory
from ddrs.memory.regions import Resolution
from ddrs.proof.certificate import ABSTAIN
from memory.contract import conflicting

BATCH = 8  # inputs in one call at most


def main(url, seed, count, batch):
    x, predictions, radii = conflicting(count, seed)
    with Memory(url) as memory:
        for low in range(0, count, batch):
            part = slice(low, low + batch)
            answers = memory.resolve_many(x[part], predictions[part], radii[part])
            for row, answer in zip(x[part].tolist(), answers, strict=True):
                line = [row, answer.prediction, answer.radius.hex(), answer.outcome]
                print(json.dumps(line), flush=True)


def keep_writing(url, seed, path, calls=None):
    """Call `resolve_many` again and again, opening the memory anew now and then.

    Args:
        url: the store.
        seed: of the claims; the evidence of each of them begins with it.
        path: a file that each answer is appended to.
        calls: how many times; without end if it is None.
    """
    rng = np.random.default_rng(seed)
    memory, done = Memory(url), 0
    with open(path, "a") as file:
        while calls is None or done < calls:
            count = int(rng.integers(1, BATCH + 1))
            x = rng.integers(0, 200, (count, 2)) / 64
            notes = [f"{seed} {done}.{i}" + "." * int(rng.integers(2000)) for i in range(count)]
            classes = rng.integers(ABSTAIN, 4, count).tolist()
            answers = memory.resolve_many(x, classes, rng.random(count) / 16, evidence=notes)
            for row, a in zip(x.tolist(), answers, strict=True):
                line = [row, a.prediction, a.radius.hex(), a.outcome, a.evidence]
                print(json.dumps(line), file=file, flush=True)
            done += 1
            time.sleep(rng.random() / 200)  # or the others would hardly get the lock
            if done % 16 == 0:
                memory.close()
                memory = Memory(url)
    memory.close()


def printed(path):
    """The inputs and answers in a file of `keep_writing`; the last line may be cut off."""
    if not Path(path).exists():
        return []
    lines = [json.loads(line) for line in Path(path).read_text().split("\n")[:-1]]
    return [(tuple(x), Resolution(c, float.fromhex(r), *rest)) for x, c, r, *rest in lines]


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
