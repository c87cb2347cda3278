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
_LARGEST = 2**26  # bytes once decompressed; MNIST's largest file has 47 million


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
    """Read an IDX file of ``ndim`` axes, compressed or not."""
    content, magic, start = path.read_bytes(), bytes([0, 0, 8, ndim]), 4 + 4 * ndim
    if content.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as stream:
                content = stream.read(_LARGEST)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(
                f"{path}: expected an intact gzip file, but {error}; download it again"
            ) from error
    shape = struct.unpack(f">{ndim}I", content[4:start]) if len(content) > start else (0,)
    if content[:4] != magic or not 0 < math.prod(shape) == len(content) - start:
        raise ValueError(
            f"{path}: expected the header of an IDX file, {magic.hex()} and a shape, and as many "
            f"bytes, got {len(content):,} bytes from {content[:start].hex()}; download it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)  # (n,) or (n, H, W)


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
