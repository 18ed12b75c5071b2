"""A small dataset, networks for it, and trainings in processes of their own."""

import os
import socket
from pathlib import Path

import torch
import torch._dynamo  # what the first optimizer imports, for seconds: here once, before a fork
from torch import nn

from ddrs.errors import DDRSError
from ddrs.training.config import TrainingConfig
from ddrs.training.loop import train
from ddrs.training.sigmas import DataDependent

STOPPED = 7


class Stripes:
    """Small images in [0, 1] whose class is the stripe that is bright; no two are the same."""

    def __init__(self, count=36, dtype=torch.float32, side=3):
        noise = torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
        self.x = (0.3 * noise).to(dtype)
        self.y = [index % 3 for index in range(count)]
        for index, label in enumerate(self.y):
            self.x[index, 0, label] += 0.7

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


def network(side=3):
    """Every kind of state: weights, running statistics, dropout."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(side**2, 16), nn.BatchNorm1d(16), nn.ReLU(),
                         nn.Dropout(0.2), nn.Linear(16, 3))  # fmt: skip


def smooth_network():
    """Nothing that depends on who else is in the batch, in double precision, and an idle weight."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 3))
    model.idle = nn.Parameter(torch.ones(2))
    return model.double()


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


ALL = TrainingConfig(
    sigma=0.2,
    data_dependent=DataDependent(warmup=1, lr=0.05, n=2),
    epochs=6,
    batch_size=8,
    lr=0.05,
    augment=True,
    validation=9,
    seed=3,
)
"""Everything that a checkpoint has to bring back; 12 steps an epoch of `Stripes(100, side=8)`."""


def train_all(folder, save_seconds):
    """Train `network` with `ALL`; a byte a step goes to `steps`, the end of it to `result.pt`.

    However it ends, unless it is killed, `ended` is there then.
    """
    folder, model = Path(folder), network(8)
    try:
        with open(folder / "steps", "ab", buffering=0) as steps:
            history = train(
                model,
                Stripes(100, side=8),
                ALL,
                checkpoint=folder / "checkpoint.pt",
                save_seconds=save_seconds,
                on_batch=lambda _: steps.write(b"."),
            )
        torch.save((history, weights(model)), folder / "result.pt")
    finally:
        (folder / "ended").touch()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def join(rank, port):
    """Make this process one of two that train together."""
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }


def train_together(rank, port, folder, options, layers, stop_after):
    """`train_alone`, as one of two processes."""
    join(rank, port)
    train_alone(folder, options, layers, f"{rank}.pt", stop_after)


def fail_together(rank, port, folder):
    """As one of two processes, train on an example that the one who attacks it refuses."""
    join(rank, port)
    examples = Stripes(37)
    examples.x[20] = 2.0
    config = TrainingConfig(method="smoothadv", sigma=0.2, epochs=2, batch_size=9, seed=3)
    try:
        train(network(), examples, config)
    except DDRSError as error:
        Path(folder, str(rank)).write_text(f"{type(error).__name__}: {error}")


def train_alone(folder, options, layers, result, stop_after=0):
    """Train on 37 examples, 5 of them held out, and write what came out.

    Args:
        folder: where the checkpoint and the result go.
        options: of `TrainingConfig`, as plain data.
        layers: whether the network has batch normalisation and dropout.
        result: name of the file.
        stop_after: after so many steps the process ends where it is, if not 0.
    """
    model, done = network() if layers else smooth_network(), []
    if adaptive := options.get("data_dependent"):
        options = options | {"data_dependent": DataDependent(**adaptive)}
    config = TrainingConfig(sigma=0.2, batch_size=9, lr=0.05, validation=5, seed=3, **options)

    def note(examples):
        done.append(examples)
        if len(done) == stop_after:
            os._exit(STOPPED)

    history = train(
        model,
        Stripes(37, next(model.parameters()).dtype),
        config,
        checkpoint=Path(folder) / "checkpoint.pt",
        save_seconds=0.0,
        on_batch=note,
    )
    torch.save((history, weights(model), done), Path(folder) / result)
