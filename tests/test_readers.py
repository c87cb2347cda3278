"""Files of MNIST and CIFAR-10: what was written is read, everything else is refused by name."""

import gzip

import numpy as np
import pytest

from kkt_ref.datasets.readers import RECORD, read_cifar10, read_idx, read_mnist
from tests.datafiles import idx_bytes

IMAGES = (np.arange(2 * 3 * 4) * 37 % 256).astype(np.uint8).reshape(2, 3, 4)
WHOLE = idx_bytes(IMAGES)


def write(path, content):
    path.write_bytes(gzip.compress(content, compresslevel=1, mtime=0))
    return path


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
    np.zeros_like(table).tofile(tmp_path / "after.bin")
    images, labels = read_cifar10([tmp_path / "one.bin", tmp_path / "after.bin"])
    assert images.shape == (2, 3, 32, 32) and images.dtype == np.uint8
    assert labels.tolist() == [7, 0]
    assert images[0, 1, 5, 9] == 200 and images.sum() == 200


def idx(content, change=bytes):
    """What reads a compressed file after its bytes were changed."""

    def read(folder):
        path = write(folder / "wrong.gz", content)
        path.write_bytes(change(path.read_bytes()))
        return read_idx(path, 3)

    return read


def batch(content):
    def read(folder):
        (folder / "batch.bin").write_bytes(content)
        read_cifar10([folder / "batch.bin"])

    return read


REFUSED = {
    r"wrong\.gz: expected an intact gzip file": idx(WHOLE, lambda packed: packed[:-9]),
    r"wrong\.gz: .* gzip file, but CRC": idx(WHOLE, lambda packed: packed[:-5] + bytes(5)),
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
