"""Flips and crops: other views of the same images."""

import torch
from torch import Tensor

__all__ = ["Views", "draw_views", "flip_and_crop"]

BORDER = 8  # a crop moves by up to an eighth of a side: the customary 4 pixels of 32


class Views:
    """One view per image: whether it is flipped, and where it is cropped.

    Args:
        flips: `[batch]` bool.
        down: `[batch]` int64, first row of the crop in the padded image.
        right: `[batch]` int64, first column.
    """

    def __init__(self, flips: Tensor, down: Tensor, right: Tensor) -> None:
        self.flips, self.down, self.right = flips, down, right

    def __getitem__(self, rows: slice) -> "Views":
        return Views(self.flips[rows], self.down[rows], self.right[rows])


def draw_views(batch: int, shape: torch.Size, generator: torch.Generator) -> Views:
    """Views of images `[channels, height, width]`: half are flipped, all crops equally likely."""
    height, width = shape[-2:]
    return Views(
        torch.rand(batch, generator=generator) < 0.5,
        torch.randint(2 * (height // BORDER) + 1, (batch,), generator=generator),
        torch.randint(2 * (width // BORDER) + 1, (batch,), generator=generator),
    )


def flip_and_crop(x: Tensor, views: Views) -> Tensor:
    """The images as the views show them, left and right exchanged, with 0 beyond the border.

    Args:
        x: `[batch, channels, height, width]`.
        views: one per image.
    """
    height, width = x.shape[-2:]
    vertical, horizontal = height // BORDER, width // BORDER
    padded = torch.nn.functional.pad(x, (horizontal, horizontal, vertical, vertical))
    columns = torch.arange(width).expand(len(x), width)
    columns = torch.where(views.flips.unsqueeze(1), columns.flip(1), columns)
    return padded[
        torch.arange(len(x)).view(-1, 1, 1, 1),
        torch.arange(x.shape[1]).view(1, -1, 1, 1),
        (views.down.unsqueeze(1) + torch.arange(height)).view(-1, 1, height, 1),
        (views.right.unsqueeze(1) + columns).view(-1, 1, 1, width),
    ]
