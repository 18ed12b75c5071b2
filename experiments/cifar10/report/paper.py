"""What the paper reports, to stand beside what the study found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from experiments.cifar10.report.cells import RADII, number

# Alfarra et al. 2022: certified accuracy in % at RADII and 2, then the ACR; l1 without these.
PAPER = """
l2 gaussian  fixed Cohen         79.9 58.3 40.1 29.2 20.2 13.1  7.3 0    0.591
l2 gaussian  DS    Cohen-DS      77.2 64.5 47.8 38.3 27.6 16.5  8.0 1.2  0.784
l2 gaussian  DS2   Cohen-DS2     79.8 66.5 50.4 39.2 29.1 18.3  8.8 1.4  0.764
l2 smoothadv fixed SmoothAdv     76.0 62.4 46.7 34.6 26.5 19.5 12.9 0    0.681
l2 smoothadv DS    SmoothAdv-DS  75.7 66.4 52.1 38.8 30.6 22.2 15.0 4.2  0.799
l2 smoothadv DS2   SmoothAdv-DS2 76.2 66.8 52.8 39.3 30.8 22.6 15.1 4.3  0.812
l2 macer     fixed MACER         78.8 59.3 43.6 34.7 26.6 19.4 13.0 0    0.702
l2 macer     DS    MACER-DS      79.5 66.7 52.3 43.0 30.8 19.5 12.8 3.97 0.841
l2 macer     DS2   MACER-DS2     82.4 68.3 52.7 43.5 31.7 20.6 13.8 3.65 0.807
l1 uniform   fixed Yang          92 83 75 71 46
l1 uniform   DS    Yang-DS       92 89 82 76 58
"""


def paper_row(norm: str, method: str, kind: str) -> dict[Any, Any]:
    """The paper's name for a row, its accuracy by radius, and its ACR by None; {} for no row."""
    for line in PAPER.strip().splitlines():
        *key, name = line.split()[:4]
        numbers = [float(cell) for cell in line.split()[4:]]
        if key == [norm, method, kind]:
            acr = numbers.pop() if len(numbers) > len(RADII) else None
            radii = (*RADII, 2.0)[: len(numbers)]
            accuracies = {r: number / 100 for r, number in zip(radii, numbers, strict=True)}
            return {"name": name, **accuracies, None: acr}
    return {}


def paper_text(rows: Iterable[dict[Any, Any]], radius: float | None) -> str:
    """The largest of the paper's figures at a radius, the ACR for None."""
    figures = [row[radius] for row in rows if row.get(radius) is not None]
    return number(max(figures, default=None))
