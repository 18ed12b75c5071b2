"""Whether a network does what it was made for, or something between it and the data is amiss."""

from collections.abc import Sequence

from ddrs.runs.rows import CertifiedRow, labelled

__all__ = ["chance_note", "near_chance"]

CHANCE = 0.001  # what guessing reaches more often than this is no better than guessing
HALFWAY = 0.05  # and what half the way to 1 falls so low as rarely as this is no small sample


def near_chance(correct: int, inputs: int, num_classes: int) -> bool:
    """Whether so many correct answers are no better than guesses, and too few for bad luck.

    Guesses reach `correct` with a probability above 0.001, and a network halfway between them and
    perfection falls to it with one below 0.05; so a few inputs say nothing.

    Args:
        correct: how many inputs are answered rightly.
        inputs: of how many.
        num_classes: how many classes there are to guess among.
    """
    from scipy.special import bdtr, bdtrc

    chance = 1 / num_classes
    guessed = 1.0 if correct == 0 else float(bdtrc(correct - 1, inputs, chance))
    return guessed > CHANCE and float(bdtr(correct, inputs, (1 + chance) / 2)) < HALFWAY


def chance_note(rows: Sequence[CertifiedRow], num_classes: int) -> str | None:
    """What to look at where the answers without noise are near chance; None where they are not.

    Args:
        rows: the certified inputs.
        num_classes: length of the network's output. The classes that occur in the rows are often
            fewer, as they depend on the order of the data and on how much of it is certified.
    """
    if not rows or not labelled(rows):
        return None
    correct = sum(row.clean_prediction == row.label for row in rows)
    if not near_chance(correct, len(rows), num_classes):
        return None
    return (
        f"without noise {correct} of {len(rows)} answers are right, no more than by chance among "
        f"{num_classes} classes: look at the order of the classes (--class-map FILE), the "
        "preprocessing (mean and standard deviation belong into the network) and the scale of the "
        "pixels (0 to 1)"
    )
