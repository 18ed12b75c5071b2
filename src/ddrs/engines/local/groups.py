"""How many inputs are certified at once."""

__all__ = ["GroupSize"]

GROUP_SECONDS = 4.0  # a kill costs about this much work,
LONGEST_GROUP_SECONDS = 60.0  # and up to this much where inputs are faster together
WORTHWHILE_GAIN = 1.2  # inputs per second, over the best size so far
LARGEST_GROUP = 512  # inputs


class GroupSize:
    """How many inputs to certify at once: what takes a few seconds, or more where that is faster.

    Votes of one input fill the processor, but the steps of Algorithm 1 are of one noisy copy: there
    a group of 16 takes a third of the time. So the size is doubled for as long as that pays.

    Attributes:
        size: inputs of the next group.
    """

    def __init__(self) -> None:
        self.size = 1
        self._best, self._rate = 1, 0.0

    def record(self, seconds: float) -> None:
        """Note how long a group of this size took, and set the next size."""
        rate = self.size / max(seconds, 1e-9)
        size = min(int(GROUP_SECONDS * rate), 8 * self.size)
        if rate > WORTHWHILE_GAIN * self._rate:
            self._best, self._rate = self.size, rate
            size = max(size, min(2 * self.size, int(LONGEST_GROUP_SECONDS * rate)))
        self.size = min(max(size, self._best), LARGEST_GROUP)
