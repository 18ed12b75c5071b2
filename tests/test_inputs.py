import hashlib
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch

from ddrs.inputs import Point, from_pixels, input_digest, to_pixels
from ddrs.training import examples


def test_the_digest_is_sha256_of_shape_and_little_endian_values():
    text = b"(2, 2)" + struct.pack("<4d", 1.0, -2.5, 0.0, 3e-300)
    assert input_digest(np.array([[1.0, -2.5], [0.0, 3e-300]])) == hashlib.sha256(text).hexdigest()


def test_equal_values_have_one_digest_whatever_holds_them():
    x = np.array([0.5, -0.25, 0.0, 3.0])
    digest = input_digest(x)
    for same in (
        x.astype(np.float32),
        x.astype(np.float16),
        x.astype(">f8"),
        x.tolist(),
        np.array([0.5, -0.25, -0.0, 3.0]),
        np.repeat(x, 2)[::2],
    ):
        assert input_digest(same) == digest


def test_other_values_or_another_shape_have_another_digest():
    x = np.arange(6, dtype=np.float64)
    others = [x.reshape(2, 3), x.reshape(3, 2), np.nextafter(x, 9), x[::-1], x[:5]]
    assert len({input_digest(value) for value in [x, *others]}) == 6


def test_a_float32_and_its_neighbour_in_float64_differ():
    assert input_digest([0.1]) != input_digest(np.array([0.1], dtype=np.float32))


def test_the_caller_s_array_is_left_alone():
    x = np.array([-0.0, 1.0])
    input_digest(x)
    assert np.signbit(x[0])


def test_the_memory_gives_an_input_the_same_name():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    assert Point.of(x).digest == input_digest(x)


def test_a_point_keeps_a_copy_and_the_digest_that_it_is_given():
    x = np.array([1.0, 2.0])
    point = Point.of(x, digest="made up")
    x[0] = 9.0
    assert (point.x.tolist(), point.values.tolist()) == ([1.0, 2.0], [1.0, 2.0])
    assert point.digest == "made up"


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_pixels_are_the_same_in_numpy_and_in_torch(dtype):
    k = np.arange(256, dtype=np.uint8)
    x = from_pixels(k, dtype)
    assert x.dtype == dtype
    assert np.array_equal(x, np.true_divide(k.astype(dtype), np.asarray(255, dtype)))
    in_torch = torch.from_numpy(k).to(getattr(torch, dtype)).div_(255)
    assert torch.equal(torch.from_numpy(x), in_torch)
    assert np.array_equal(to_pixels(x), k)
    assert torch.equal(examples._as_bytes(in_torch), torch.from_numpy(k))
    assert torch.equal(examples._from_bytes(torch.from_numpy(k), in_torch.dtype), in_torch)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1 / 255, 256 / 255, 0.5])
def test_what_is_no_pixel_has_no_byte(value):
    assert to_pixels(np.array([0.0, value])) is None


def test_bfloat16_examples_come_back_as_they_were():
    x = torch.arange(256).to(torch.bfloat16).div_(255).view(256, 1)
    store = examples.ExampleStore([(row, 0) for row in x], 1)
    assert torch.equal(store.batch(torch.arange(256))[0], x)


def test_urls_and_inputs_load_no_heavy_package():
    code = (
        "import sys, ddrs.memory.store.urls, ddrs.inputs\n"
        "assert not {'torch', 'sqlalchemy', 'scipy', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
