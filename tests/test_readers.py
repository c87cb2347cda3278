"""Files of MNIST and CIFAR-10: what was written is read, everything else is refused by name."""

import gzip
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kkt_ref.datasets.readers import RECORD, read_cifar10, read_idx, read_mnist

IMAGES = (np.arange(2 * 3 * 4) * 37 % 256).astype(np.uint8).reshape(2, 3, 4)


def idx_bytes(array):
    shape = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def write(path, content):
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
    return path


def read_images(path):
    return read_idx(path, 3)


def mutations(content):
    """Truncated, flipped and extended versions of ``content``."""
    flip = st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255))
    return st.one_of(
        st.integers(0, len(content) - 1).map(lambda k: content[:k]),
        flip.map(lambda f: content[: f[0]] + bytes([content[f[0]] ^ f[1]]) + content[f[0] + 1 :]),
        st.binary(min_size=1, max_size=40).map(lambda tail: content + tail),
    )


@settings(max_examples=200)
@given(mutations(idx_bytes(IMAGES)))
def test_damage_before_compression_is_refused_unless_only_pixels_changed(content):
    good = idx_bytes(IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "damaged", content)
        try:
            got = read_images(path)
        except ValueError as error:
            got = None
            assert str(path) in str(error)
    if len(content) == len(good) and content[:16] == good[:16]:
        np.testing.assert_array_equal(got.ravel(), np.frombuffer(content[16:], np.uint8))
    elif len(content) == len(good) and content[:4] == good[:4]:
        # another shape of as many bytes cannot be told from the right one
        shape = struct.unpack(">3I", content[4:16])
        assert got is None if np.prod(shape, dtype=float) != IMAGES.size else got.shape == shape
    else:
        assert got is None


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "header"),
        (b"\0\0\x08\x01" + bytes(12), "00000803"),
        (b"\0\0\x0d\x03" + bytes(12), "00000803"),
        (idx_bytes(IMAGES)[:-1], "got 23"),
        (idx_bytes(IMAGES) + b"!", "got more"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 0, 28, 28), "shape"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**30, 28, 28), "shape"),
    ],
)
def test_refusals_say_what_came(tmp_path, content, what):
    with pytest.raises(ValueError, match=rf"wrong\.gz: expected .*{what}"):
        read_images(write(tmp_path / "wrong.gz", content))


def test_a_gzip_bomb_is_not_inflated(tmp_path):
    path = write(tmp_path / "bomb.gz", idx_bytes(IMAGES) + bytes(2**26))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="got more"):
            read_images(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22


def mnist(folder, labels=(1, 2, 3), shape=(28, 28)):
    pixels = (np.arange(3 * np.prod(shape)) % 251).astype(np.uint8).reshape(3, *shape)
    labels = write(folder / "labels.gz", idx_bytes(np.array(labels, np.uint8)))
    return write(folder / "images.gz", idx_bytes(pixels)), labels


def test_mnist_pairs(tmp_path):
    images, labels = read_mnist(*mnist(tmp_path))
    assert images.shape == (3, 1, 28, 28) and images.dtype == np.uint8
    np.testing.assert_array_equal(images.ravel(), np.arange(3 * 784) % 251)
    assert labels.tolist() == [1, 2, 3]
    for match, change in {
        r"labels\.gz: .*got 10 in row 2": dict(labels=[1, 2, 10]),
        r"labels\.gz: expected 3 labels.*got 2": dict(labels=[1, 2]),
        r"images\.gz: expected images of 28 x 28": dict(shape=(28, 27)),
    }.items():
        with pytest.raises(ValueError, match=match):
            read_mnist(*mnist(tmp_path, **change))


def test_cifar10_planes_are_red_green_blue_row_by_row(tmp_path):
    table = np.zeros((1, RECORD), np.uint8)
    table[0, 0] = 7
    table[0, 1 + 1024 + 32 * 5 + 9] = 200  # green, row 5, column 9
    table.tofile(tmp_path / "one.bin")
    images, labels = read_cifar10([tmp_path / "one.bin"])
    assert images.shape == (1, 3, 32, 32) and images.dtype == np.uint8
    assert labels.tolist() == [7]
    assert images[0, 1, 5, 9] == 200 and images.sum() == 200


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "got 0 bytes"),
        (bytes(RECORD - 1), "got 3,072 bytes"),
        (bytes(RECORD) + bytes([10]) * RECORD, "got 10 in row 1"),
    ],
)
def test_damaged_batches_are_refused(tmp_path, content, what):
    (tmp_path / "batch.bin").write_bytes(content)
    with pytest.raises(ValueError, match=rf"batch\.bin: expected .*{what}"):
        read_cifar10([tmp_path / "batch.bin"])
