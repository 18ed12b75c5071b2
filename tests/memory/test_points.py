import hashlib

import numpy as np
import pytest

from ddrs.errors import InputError
from ddrs.memory.points import as_array, decode, point


def test_the_digest_is_that_of_the_shape_and_the_float64_values():
    x = np.array([[1.5, -0.0]], np.float32)
    data = b"(1, 2)" + np.array([1.5, 0.0], "<f8").tobytes()
    assert point(as_array(x)).digest == hashlib.sha256(data).hexdigest()


def test_equal_values_share_a_digest_and_different_ones_do_not():
    digests = {
        point(as_array(x)).digest
        for x in ([0.0, 1.0], [-0.0, 1.0], np.array([0, 1], np.uint8), np.array([0, 1], ">f4"))
    }
    assert len(digests) == 1
    others = ([0.0, 1.0 + 2**-52], [[0.0, 1.0]], [[0.0], [1.0]], [1.0, 0.0], [0.1, 1.0])
    assert len(digests | {point(as_array(x)).digest for x in others}) == 6
    assert point(as_array(0.1)).digest != point(as_array(np.float32(0.1))).digest


def test_the_values_are_a_copy():
    x = np.array([1.0, 2.0])
    p = point(as_array(x))
    x[0] = 9.0
    assert p.values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", ["c8", "?", "O", "M8[s]", "S3", "g"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match="convert"):
        point(as_array(np.zeros(2, dtype)))


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1])
def test_integers_that_float64_cannot_hold_are_refused(value):
    with pytest.raises(InputError, match="2\\^53"):
        point(as_array(np.array([0, value])))
    assert point(as_array(np.array([2**53, -(2**53)]))).values.tolist() == [2.0**53, -(2.0**53)]


def test_decode_inverts_what_is_stored():
    p = point(as_array(np.arange(6, dtype=np.float16).reshape(2, 3)))
    again = decode(p.x.tobytes(), p.x.dtype.str, (2, 3))
    assert np.array_equal(again.x, p.x)
    assert again.digest == p.digest
    with pytest.raises(InputError, match="12 bytes"):
        decode(p.x.tobytes(), p.x.dtype.str, (2, 4))
    with pytest.raises(InputError, match="dtype"):
        decode(p.x.tobytes(), "|O", (2, 3))
