"""IDX files: what is written is read, everything else is refused by name."""

import gzip
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kkt_ref.datasets.idx import LARGEST, CorruptFileError, read_idx, read_mnist


def idx_bytes(array):
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)
    )


def write(path, content):
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
    return path


def write_mnist(folder, n=3, *, labels=None, shape=(28, 28)):
    images = (np.arange(n * np.prod(shape)) % 251).astype(np.uint8).reshape(n, *shape)
    labels = (np.arange(n) % 10).astype(np.uint8) if labels is None else labels
    paths = folder / "images.gz", folder / "labels.gz"
    write(paths[0], idx_bytes(images))
    write(paths[1], idx_bytes(np.ascontiguousarray(labels)))
    return paths, images, labels


IMAGES = (np.arange(2 * 3 * 4) * 37 % 256).astype(np.uint8).reshape(2, 3, 4)


def test_reads_what_was_written(tmp_path):
    (images, labels), x, digits = write_mnist(tmp_path)
    got_x, got_digits = read_mnist(images, labels)
    assert got_x.shape == (3, 1, 28, 28) and got_x.dtype == np.uint8
    np.testing.assert_array_equal(got_x[:, 0], x)
    np.testing.assert_array_equal(got_digits, digits)


def read_or_none(content):
    """What read_idx makes of the file content, None if it refuses by name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.gz"
        path.write_bytes(content)
        try:
            return read_idx(path, 3)
        except CorruptFileError as error:
            assert str(path) in str(error)
            return None


def mutations(content):
    """Strategies for truncated, flipped and extended versions of ``content``."""
    flip = st.tuples(st.integers(0, len(content) - 1), st.integers(1, 255))
    return st.one_of(
        st.integers(0, len(content) - 1).map(lambda k: content[:k]),
        flip.map(lambda f: content[: f[0]] + bytes([content[f[0]] ^ f[1]]) + content[f[0] + 1 :]),
        st.binary(min_size=1, max_size=40).map(lambda tail: content + tail),
    )


@settings(max_examples=300, deadline=None)
@given(mutations(gzip.compress(idx_bytes(IMAGES), mtime=0)))
def test_damaged_gzip_loads_right_or_is_refused(content):
    got = read_or_none(content)
    assert got is None or np.array_equal(got, IMAGES)


@settings(max_examples=300, deadline=None)
@given(mutations(idx_bytes(IMAGES)))
def test_damage_before_compression_is_refused_unless_only_pixels_changed(content):
    good = idx_bytes(IMAGES)
    got = read_or_none(gzip.compress(content, mtime=0))
    if len(content) == len(good) and content[:16] == good[:16]:
        np.testing.assert_array_equal(got.ravel(), np.frombuffer(content[16:], np.uint8))
    elif len(content) == len(good) and content[:4] == good[:4]:
        # a flipped size that announces as many bytes cannot be told; one that does not is refused
        shape = struct.unpack(">3I", content[4:16])
        assert got is None if np.prod(shape, dtype=float) != IMAGES.size else got.shape == shape
    else:
        assert got is None


def test_every_truncation_of_the_compressed_file_is_refused():
    content = gzip.compress(idx_bytes(IMAGES), mtime=0)
    assert all(read_or_none(content[:k]) is None for k in range(len(content)))
    assert np.array_equal(read_or_none(content), IMAGES)


@pytest.mark.parametrize(
    "content, what",
    [
        (b"", "header"),
        (b"\0\0\x08\x01" + bytes(12), "00000803"),
        (b"\0\0\x0d\x03" + bytes(12), "00000803"),
        (idx_bytes(IMAGES)[:-1], "got 23"),
        (idx_bytes(IMAGES) + b"!", "got more"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 0, 28, 28), "shape"),
        (b"\0\0\x08\x03" + struct.pack(">3I", LARGEST, 28, 28), "shape"),
    ],
)
def test_refusals_say_what_came(tmp_path, content, what):
    path = write(tmp_path / "wrong.gz", content)
    with pytest.raises(CorruptFileError, match=what) as refusal:
        read_idx(path, 3)
    assert str(path) in str(refusal.value)


def test_not_gzip_is_refused(tmp_path):
    path = tmp_path / "plain.gz"
    path.write_bytes(idx_bytes(IMAGES))
    with pytest.raises(CorruptFileError, match="gzip"):
        read_idx(path, 3)


def test_a_gzip_bomb_is_not_inflated(tmp_path):
    path = write(tmp_path / "bomb.gz", idx_bytes(IMAGES) + bytes(2**26))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFileError, match="got more"):
            read_idx(path, 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**22


def test_mnist_pairs_must_fit(tmp_path):
    (images, labels), *_ = write_mnist(tmp_path, labels=np.array([1, 2, 10], np.uint8))
    with pytest.raises(CorruptFileError, match="got 10 in row 2"):
        read_mnist(images, labels)
    (images, labels), *_ = write_mnist(tmp_path, labels=np.array([1, 2], np.uint8))
    with pytest.raises(CorruptFileError, match="expected 3 labels.*got 2"):
        read_mnist(images, labels)
    (images, labels), *_ = write_mnist(tmp_path, shape=(28, 27))
    with pytest.raises(CorruptFileError, match="28 x 27"):
        read_mnist(images, labels)
    with pytest.raises(CorruptFileError, match="labels.gz"):
        read_mnist(labels, images)
