"""Files of MNIST and CIFAR-10: what was written is read, everything else is refused by name."""

import gzip
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kkt_ref.datasets.readers import RECORD, read_cifar10, read_idx, read_mnist
from tests.datafiles import idx_bytes

IMAGES = (np.arange(2 * 3 * 4) * 37 % 256).astype(np.uint8).reshape(2, 3, 4)
WHOLE = idx_bytes(IMAGES)


def write(path, content):
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
    return path


FLIPS = st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
DAMAGED = st.one_of(
    st.integers(0, len(WHOLE) - 1).map(lambda k: WHOLE[:k]),
    FLIPS.map(lambda f: WHOLE[: f[0]] + bytes([WHOLE[f[0]] ^ f[1]]) + WHOLE[f[0] + 1 :]),
    st.binary(min_size=1, max_size=40).map(lambda tail: WHOLE + tail),
)


@settings(max_examples=200)
@given(DAMAGED)
def test_damage_before_compression_is_refused_unless_only_pixels_changed(content):
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "damaged", content)
        try:
            got = read_idx(path, 3)
        except ValueError as error:
            got = None
            assert str(path) in str(error)
    if len(content) == len(WHOLE) and content[:16] == WHOLE[:16]:
        np.testing.assert_array_equal(got.ravel(), np.frombuffer(content[16:], np.uint8))
    elif len(content) == len(WHOLE) and content[:4] == WHOLE[:4]:
        # another shape of as many bytes cannot be told from the right one
        shape = struct.unpack(">3I", content[4:16])
        assert got is None if np.prod(shape, dtype=float) != IMAGES.size else got.shape == shape
    else:
        assert got is None


def mnist(folder, labels=(1, 2, 3), shape=(28, 28)):
    pixels = (np.arange(3 * np.prod(shape)) % 251).astype(np.uint8).reshape(3, *shape)
    labels = write(folder / "labels.gz", idx_bytes(np.array(labels, np.uint8)))
    return write(folder / "images.gz", idx_bytes(pixels)), labels


def test_mnist_pairs(tmp_path):
    images, labels = read_mnist(*mnist(tmp_path))
    assert images.shape == (3, 1, 28, 28) and images.dtype == np.uint8
    np.testing.assert_array_equal(images.ravel(), np.arange(3 * 784) % 251)
    assert labels.tolist() == [1, 2, 3]


def test_cifar10_planes_are_red_green_blue_row_by_row(tmp_path):
    table = np.zeros((1, RECORD), np.uint8)
    table[0, 0] = 7
    table[0, 1 + 1024 + 32 * 5 + 9] = 200  # green, row 5, column 9
    table.tofile(tmp_path / "one.bin")
    images, labels = read_cifar10([tmp_path / "one.bin"])
    assert images.shape == (1, 3, 32, 32) and images.dtype == np.uint8
    assert labels.tolist() == [7]
    assert images[0, 1, 5, 9] == 200 and images.sum() == 200


def idx(content):
    return lambda folder: read_idx(write(folder / "wrong.gz", content), 3)


def batch(content):
    def read(folder):
        (folder / "batch.bin").write_bytes(content)
        read_cifar10([folder / "batch.bin"])

    return read


REFUSED = {
    r"wrong\.gz: expected .*header": idx(b""),
    r"wrong\.gz: expected .*00000803.*from 00000801": idx(b"\0\0\x08\x01" + bytes(12)),
    r"wrong\.gz: expected .*00000803.*from 00000d03": idx(b"\0\0\x0d\x03" + bytes(12)),
    r"wrong\.gz: expected .* got 39": idx(WHOLE[:-1]),
    r"wrong\.gz: expected .* got 41": idx(WHOLE + b"!"),
    r"wrong\.gz: .*from 0000080300000000": idx(WHOLE[:4] + bytes(12)),
    r"labels\.gz: .*got 10 in row 2": lambda folder: read_mnist(*mnist(folder, [1, 2, 10])),
    r"labels\.gz: expected 3 labels.*got 2": lambda folder: read_mnist(*mnist(folder, [1, 2])),
    r"images\.gz: expected images of 28 x 28": lambda folder: read_mnist(
        *mnist(folder, shape=(28, 27))
    ),
    r"batch\.bin: expected .*got 0 bytes": batch(b""),
    r"batch\.bin: expected .*got 3,072 bytes": batch(bytes(RECORD - 1)),
    r"batch\.bin: expected .*got 10 in row 1": batch(bytes(RECORD) + bytes([10]) * RECORD),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_say_what_came(tmp_path, message):
    with pytest.raises(ValueError, match=message):
        REFUSED[message](tmp_path)
