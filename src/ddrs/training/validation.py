"""How well a classifier does on examples that it was not trained on."""

import torch
from torch import Tensor, nn

from ddrs.networks.frozen import frozen
from ddrs.networks.noisy import add_noise
from ddrs.noise.distributions import Noise
from ddrs.noise.keys import keyed_generator
from ddrs.training.examples import ExampleStore
from ddrs.training.workers import Workers

__all__ = ["noisy_accuracy"]


@torch.no_grad()
def noisy_accuracy(
    network: nn.Module,
    store: ExampleStore,
    ids: Tensor,
    workers: Workers,
    *,
    noise: Noise,
    sigma: float,
    batch_size: int,
    seed: int,
) -> float:
    """Share of examples that are classified correctly under noise, one draw each.

    The draws depend on the seed alone, so that two networks are compared under the same noise, and
    sigma is one for all, so that they are compared under noise of the same strength.

    Args:
        network: the base classifier; it comes back as it was.
        store: where the examples are.
        ids: which ones.
        workers: all processes take part, and have the same result.
        noise: the smoothing distribution.
        sigma: its scale, in the units of the input.
        batch_size: examples at a time, in all processes together.
        seed: key of the draws.
    """
    correct = 0
    with frozen(network) as model:
        for number, batch in enumerate(torch.split(ids, batch_size)):
            mine = batch[workers.rows(len(batch))]
            if not len(mine):
                continue
            x, y = (part.to(workers.device) for part in store.batch(mine))
            generator = keyed_generator(seed, "validation", number, device=workers.device)
            draws = workers.share(noise, len(batch)).sample_like(x, generator)
            noisy = add_noise(x, x.new_full((len(x),), sigma), draws)
            correct += int((model(noisy).argmax(1) == y).sum())
    return workers.total(torch.tensor(correct)).item() / len(ids)
