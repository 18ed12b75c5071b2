"""Several tries at one input: how much of alpha is left.

Each try casts votes of its own and errs with probability at most its alpha, whatever the tries
before it showed. By the union bound all of them together err with at most the sum, so a try takes
no more than those before it left of the alpha that is asked for.
"""

from math import fsum, nextafter

__all__ = ["alpha_left"]


def alpha_left(asked: float, spent: float) -> float:
    """What is left of `asked`, rounded down: the exact sum with `spent` is at most `asked`.

    Args:
        asked: probability with which all tries at an input together may be wrong.
        spent: what earlier tries took of it.

    Returns:
        0 where nothing is left.
    """
    left = max(asked - spent, 0.0)
    # `fsum` rounds the exact sum once, which keeps its sign.
    return nextafter(left, 0.0) if left and fsum((asked, -spent, -left)) < 0 else left
