"""Readers of the official files of MNIST and CIFAR-10; :func:`default_images` calls them.

MNIST comes as gzip-compressed IDX files: two zero bytes, a type code (8: unsigned byte), the
number of axes, each axis as a big-endian 32-bit integer, then the entries in C order.  CIFAR-10's
binary version is a sequence of records of 3073 bytes: one label, then the red, the green and the
blue plane of 32 x 32 pixels, each row by row.  A file that is not so raises ValueError.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

Labelled = tuple[np.ndarray, np.ndarray]  # images (n, C, H, W) and labels (n,) in 0..9, uint8
RECORD = 1 + 3 * 32 * 32  # bytes
_LARGEST = 2**30  # bytes once decompressed; MNIST's largest file has 47 million


def read_mnist(images: Path, labels: Path) -> Labelled:
    """Read a pair of MNIST files: images of shape (n, 1, 28, 28), labels."""
    pixels, digits = read_idx(images, 3), read_idx(labels, 1)
    if pixels.shape[1:] != (28, 28):
        raise ValueError(f"{images}: expected images of 28 x 28, got {pixels.shape[1:]}")
    if len(pixels) != len(digits):
        raise ValueError(f"{labels}: expected {len(pixels)} labels for {images}, got {len(digits)}")
    _check_labels(digits, labels)
    return pixels[:, np.newaxis], digits  # (n, 1, 28, 28), (n,)


def read_cifar10(paths: Sequence[Path]) -> Labelled:
    """Read batches in the given order: images of shape (n, 3, 32, 32), labels."""
    records = np.concatenate([_read_batch(path) for path in paths])  # (n, 3073)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0]


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Read an IDX file of ``ndim`` axes, and decompress no more than its header announces."""
    magic, length = bytes([0, 0, 8, ndim]), 4 + 4 * ndim
    with (open if path.name.endswith("ubyte") else gzip.open)(path, "rb") as stream:
        try:
            header = stream.read(length)
            shape = struct.unpack(f">{ndim}I", header[4:]) if len(header) == length else (0,)
            size = math.prod(shape)
            if header[:4] != magic or not 0 < size <= _LARGEST:
                raise ValueError(
                    f"{path}: expected the header of an IDX file, {magic.hex()} and a shape of 1 "
                    f"to {_LARGEST:,} bytes, got {header.hex()}"
                )
            content = stream.read(size + 1)  # at its end gzip verifies its checksum
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path}: expected an intact gzip file, but {error}; download it again"
            ) from error
    if len(content) != size:
        came = "more" if len(content) > size else f"{len(content):,}"
        raise ValueError(
            f"{path}: expected {size:,} bytes for the shape {shape} in its header, got {came}; "
            "download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)  # (n,) or (n, rows, columns)


def _read_batch(path: Path) -> np.ndarray:
    content = np.fromfile(path, np.uint8)
    if not content.size or content.size % RECORD:
        raise ValueError(
            f"{path}: expected one or more records of {RECORD} bytes, got {content.size:,} bytes; "
            "download it again"
        )
    records = content.reshape(-1, RECORD)  # (n, 3073)
    _check_labels(records[:, 0], path)
    return records


def _check_labels(labels: np.ndarray, path: Path) -> None:
    if labels.max() > 9:
        raise ValueError(
            f"{path}: expected labels 0 to 9, got {labels.max()} in row {labels.argmax()}"
        )
