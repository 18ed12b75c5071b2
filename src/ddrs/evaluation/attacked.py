"""From the points of an attack to how often answers changed."""

from collections.abc import Sequence

from ddrs.evaluation.metrics import accuracy_interval
from ddrs.proof.certificate import ABSTAIN
from ddrs.runs.attacks import Attacked, AttackFigures

__all__ = ["attack_figures"]


def attack_figures(points: Sequence[Attacked]) -> tuple[AttackFigures, ...]:
    """Figures for every distance and setting, in the order of the points.

    Args:
        points: asked in the same settings.
    """
    found = []
    for factor in dict.fromkeys(point.factor for point in points):
        some = [point for point in points if point.factor == factor]
        for setting in some[0].answers:
            changed = sum(point.changed(setting) for point in some)
            found.append(
                AttackFigures(
                    factor=factor,
                    setting=setting,
                    points=len(some),
                    inside=sum(point.inside for point in some),
                    changed=changed,
                    abstained=sum(p.answers[setting].prediction == ABSTAIN for p in some),
                    interval=accuracy_interval(changed, len(some)),
                    violations=sum(setting in point.violations for point in some),
                )
            )
    return tuple(found)
