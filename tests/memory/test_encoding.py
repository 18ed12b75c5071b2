import hashlib

import numpy as np
import pytest

from ddrs.errors import InputError
from ddrs.inputs import Point
from ddrs.memory.encoding import decode, encode


def test_the_digest_is_that_of_the_shape_and_the_float64_values():
    x = np.array([[1.5, -0.0]], np.float32)
    data = b"(1, 2)" + np.array([1.5, 0.0], "<f8").tobytes()
    assert Point.of(x).digest == hashlib.sha256(data).hexdigest()


def test_equal_values_share_a_digest_and_different_ones_do_not():
    digests = {
        Point.of(x).digest
        for x in ([0.0, 1.0], [-0.0, 1.0], np.array([0, 1], np.uint8), np.array([0, 1], ">f4"))
    }
    assert len(digests) == 1
    others = ([0.0, 1.0 + 2**-52], [[0.0, 1.0]], [[0.0], [1.0]], [1.0, 0.0], [0.1, 1.0])
    assert len(digests | {Point.of(x).digest for x in others}) == 6
    assert Point.of(0.1).digest != Point.of(np.float32(0.1)).digest


def test_the_values_are_a_copy():
    x = np.array([1.0, 2.0])
    p = Point.of(x)
    x[0] = 9.0
    assert p.values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("dtype", ["c8", "?", "O", "M8[s]", "S3", "g"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match="convert"):
        Point.of(np.zeros(2, dtype))


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1])
def test_integers_that_float64_cannot_hold_are_refused(value):
    with pytest.raises(InputError, match="2\\^53"):
        Point.of(np.array([0, value]))
    assert Point.of(np.array([2**53, -(2**53)])).values.tolist() == [2.0**53, -(2.0**53)]


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_every_image_value_is_a_byte_and_comes_back_in_its_dtype(dtype):
    x = (np.arange(256).astype(dtype) / np.asarray(255, dtype)).reshape(4, 64)
    encoding, data = encode(x)
    assert (encoding, data) == ("k/255", bytes(range(256)))
    again = decode(data, encoding, dtype, (4, 64))
    assert again.x.dtype == np.dtype(dtype)
    assert np.array_equal(again.x, x)
    assert again.digest == Point.of(x).digest


@pytest.mark.parametrize(
    "x",
    [
        np.array([0.5, np.nextafter(np.float32(1 / 255), np.float32(1))], np.float32),
        np.array([1 / 255], np.float64) * np.array([1 + 2**-52]),
        np.array([np.float32(1 / 255)], np.float64),  # k/255 of another dtype
        np.array([-1 / 255, 256 / 255]),
        np.array([0, 255], np.uint8),
        np.array([1e300, -1e300]),
    ],
)
def test_whatever_else_is_stored_as_it_came(x):
    encoding, data = encode(x)
    assert (encoding, data) == ("raw", x.tobytes())
    assert np.array_equal(decode(data, encoding, x.dtype.str, x.shape).x, x)


def test_what_does_not_fit_together_is_refused():
    p = Point.of(np.arange(6, dtype=np.float16).reshape(2, 3))
    with pytest.raises(InputError, match="12 bytes"):
        decode(p.x.tobytes(), "raw", "<f2", (2, 4))
    with pytest.raises(InputError, match="12 bytes"):
        decode(p.x.tobytes(), "k/255", "<f2", (2, 3))
    with pytest.raises(InputError, match="dtype"):
        decode(p.x.tobytes(), "raw", "|O", (2, 3))
    for encoding, dtype in [("jpeg", "<f2"), (None, "<f2"), ("k/255", "|u1")]:
        with pytest.raises(InputError, match="encoding"):
            decode(bytes(6), encoding, dtype, (2, 3))
