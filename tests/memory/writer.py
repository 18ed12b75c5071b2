"""A process that adds conflicting regions and prints each answer as soon as it has it."""

import json
import sys

from ddrs.memory import Memory
from memory.contract import conflicting


def main(url, seed, count, batch):
    x, predictions, radii = conflicting(count, seed)
    with Memory(url) as memory:
        for low in range(0, count, batch):
            part = slice(low, low + batch)
            answers = memory.resolve_many(x[part], predictions[part], radii[part])
            for row, answer in zip(x[part].tolist(), answers, strict=True):
                line = [row, answer.prediction, answer.radius.hex(), answer.outcome]
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
