import hashlib
import struct

import numpy as np

from ddrs.inputs import Point, input_digest


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
