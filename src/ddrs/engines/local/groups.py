"""How many inputs are certified at once."""

__all__ = ["GroupSize"]

GROUP_SECONDS = 4.0  # a kill costs about this much work,

LONGEST_GROUP = 60.0  # and up to this much where inputs are faster together

FASTER = 1.2

LARGEST_GROUP = 512


class GroupSize:
    """How many inputs to certify at once: what takes a few seconds, or more where that is faster.

    Votes of one input fill the processor, but the steps of Algorithm 1 are of one noisy copy: there
    a group of 16 takes a third of the time. So the size is doubled for as long as that pays.
    """

    def __init__(self) -> None:
        self.now = 1
        self._best, self._rate = 1, 0.0

    def took(self, seconds: float) -> None:
        """Say how long a group of this size took."""
        rate = self.now / max(seconds, 1e-9)
        size = min(int(GROUP_SECONDS * rate), 8 * self.now)
        if rate > FASTER * self._rate:
            self._best, self._rate = self.now, rate
            size = max(size, min(2 * self.now, int(LONGEST_GROUP * rate)))
        self.now = min(max(size, self._best), LARGEST_GROUP)
