"""Small files in the formats of MNIST and CIFAR-10."""

import gzip

import numpy as np


def idx_bytes(array):
    """An IDX file of unsigned bytes, before its compression."""
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def put_mnist(root, n):
    """The four files of MNIST, with n black images of a 0 for training and n for tests."""
    (root / "mnist").mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind, shape in (("images-idx3", (n, 28, 28)), ("labels-idx1", (n,))):
            content = gzip.compress(idx_bytes(np.zeros(shape, np.uint8)))
            (root / "mnist" / f"{part}-{kind}-ubyte.gz").write_bytes(content)


def put_cifar10(root, n, batches=("data_batch_1", "test_batch")):
    """Batches of CIFAR-10, with n black images of the class 0 in each."""
    (root / "cifar-10-batches-bin").mkdir(parents=True)
    for batch in batches:
        (root / f"cifar-10-batches-bin/{batch}.bin").write_bytes(bytes(n * 3073))
