import numpy as np
import pytest
import torch

from ddrs.errors import DataError
from ddrs.training.examples import ExampleStore, read


class Counting:
    def __init__(self, x, y):
        self.x, self.y, self.reads = x, y, 0

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        self.reads += 1
        return self.x[index], self.y[index]


IDS = torch.tensor([5, 0, 255, 5])


def pixels(dtype=torch.float32):
    """All 256 values, as `ddrs.data` makes them."""
    values = torch.from_numpy(np.arange(256, dtype=np.uint8)).to(dtype) / 255
    return values.view(256, 1, 1, 1).expand(256, 3, 2, 2).contiguous()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pixels_are_kept_as_bytes_and_come_back_exactly(dtype):
    examples = Counting(pixels(dtype), [index % 7 for index in range(256)])
    store = ExampleStore(examples, 7, kept_bytes=256 * 12)  # no room for floats
    reads = examples.reads
    x, y = store.batch(IDS)
    assert x.dtype == dtype
    assert torch.equal(x, examples.x[IDS])
    assert torch.equal(y, torch.tensor([5, 0, 255 % 7, 5]))
    assert y.dtype == torch.int64
    assert examples.reads == reads
    assert len(store) == 256


@pytest.mark.parametrize("odd", [0.5, -1 / 255, 256 / 255, float("nan")])
@pytest.mark.parametrize("where", [0, 1, 200, 255])
def test_other_inputs_are_kept_as_they_are(odd, where):
    examples = Counting(pixels(), [0] * 256)
    examples.x[where, 1, 0, 1] = odd
    store = ExampleStore(examples, 2)
    reads = examples.reads
    everything, _ = store.batch(torch.arange(256))
    assert torch.equal(everything.nan_to_num(-7), examples.x.nan_to_num(-7))
    assert examples.reads == reads


@pytest.mark.parametrize("odd", [None, 0, 200])
def test_what_has_no_room_is_read_when_it_is_needed(odd):
    examples = Counting(pixels(), [0] * 256)
    if odd is not None:
        examples.x[odd] += 0.001
    store = ExampleStore(examples, 2, kept_bytes=256 * 12 - (odd is None))
    reads = examples.reads
    x, y = store.batch(IDS)
    assert torch.equal(x, examples.x[IDS])
    assert torch.equal(y, torch.zeros(4, dtype=torch.int64))
    assert examples.reads == reads + 4


@pytest.mark.parametrize("kept_bytes", [0, 10**6])
@pytest.mark.parametrize(
    ("label", "message"),
    [
        (3, "training example 2 has the label 3 but the model's classes are 0 to 2"),
        (-1, "training example 2 has the label -1"),
        (None, "training example 2 is not a pair .* training needs labels"),
        (0.5, "training example 2 is not a pair"),
    ],
)
def test_a_label_that_is_no_class_is_one_error(kept_bytes, label, message):
    examples = Counting(torch.rand(4, 5), [0, 1, label, 2])
    with pytest.raises(DataError, match=message) as caught:
        ExampleStore(examples, 3, kept_bytes).batch(torch.arange(4))
    assert "\n" not in str(caught.value)


def test_inputs_without_labels_are_one_error():
    with pytest.raises(DataError, match="training needs labels"):
        ExampleStore(torch.rand(4, 5), 3)


@pytest.mark.parametrize("x", [np.zeros(3), torch.zeros(3, dtype=torch.uint8)], ids=str)
def test_an_input_that_is_no_floating_point_tensor_is_one_error(x):
    with pytest.raises(DataError, match=r"training example 0 is .*floating-point tensors"):
        read([(x, 0)], 0)


def test_numbers_of_numpy_and_torch_are_labels():
    for label in (np.int64(2), torch.tensor(2), np.uint8(2)):
        assert read([(torch.zeros(3), label)], 0) == (pytest.approx(torch.zeros(3)), 2)


@pytest.mark.parametrize("kept_bytes", [0, 10**6])
def test_inputs_of_several_shapes_are_one_error(kept_bytes):
    examples = [(torch.rand(3), 0), (torch.rand(2), 1)]
    with pytest.raises(DataError, match=r"example 1 has shape \[2\] but the first one has \[3\]"):
        ExampleStore(examples, 2, kept_bytes).batch(torch.arange(2))
