import torch

from ddrs.noise.keys import keyed_generator
from ddrs.training.augment import Views, draw_views, flip_and_crop


def reference(image, flip, down, right):
    """One pixel at a time."""
    channels, height, width = image.shape
    out = torch.zeros_like(image)
    for c in range(channels):
        for row in range(height):
            for column in range(width):
                seen = width - 1 - column if flip else column
                i, j = row + down - height // 8, seen + right - width // 8
                if 0 <= i < height and 0 <= j < width:
                    out[c, row, column] = image[c, i, j]
    return out


def test_views_are_those_of_the_definition():
    x = torch.rand(12, 2, 8, 17, generator=torch.Generator().manual_seed(0))
    views = draw_views(12, x.shape[1:], keyed_generator(0, "views"))
    found = flip_and_crop(x, views)
    for row in range(12):
        view = (views.flips[row], views.down[row].item(), views.right[row].item())
        assert torch.equal(found[row], reference(x[row], *view))
    assert found.is_contiguous()


def test_the_view_in_the_middle_is_the_image():
    x = torch.rand(3, 3, 16, 32)
    middle = Views(torch.tensor([False] * 3), torch.full((3,), 2), torch.full((3,), 4))
    assert torch.equal(flip_and_crop(x, middle), x)


def test_every_view_is_as_likely_as_every_other():
    views = draw_views(9000, torch.Size([3, 32, 8]), keyed_generator(1, "views"))
    assert abs(views.flips.float().mean() - 0.5) < 0.02
    down, right = views.down.bincount(), views.right.bincount()
    assert (len(down), len(right)) == (9, 3)  # 4 pixels of 32 up and down, 1 of 8
    assert (down - 1000).abs().max() < 120
    assert (right - 3000).abs().max() < 180
    rows = views[10:13]
    assert torch.equal(rows.down, views.down[10:13])
    assert torch.equal(rows.flips, views.flips[10:13])
