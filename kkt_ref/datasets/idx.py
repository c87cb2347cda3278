"""Reader of the gzip-compressed IDX files in which MNIST is published.

An IDX file holds two zero bytes, a type code (8: unsigned byte), the number of
axes, each axis as a big-endian 32-bit integer, then the entries in C order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from kkt_ref._validation import check_count, check_path

UNSIGNED_BYTE = 8
SIDE = 28  # MNIST images are SIDE x SIDE
CLASSES = 10
LARGEST = 2**30  # bytes once decompressed; MNIST's largest file has 47 million


Labelled = tuple[np.ndarray, np.ndarray]
MNIST_FILES = tuple(
    f"mnist/{part}-ubyte.gz"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
)


class CorruptFileError(ValueError):
    """A data file is not what its format demands."""


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Read a gzip-compressed IDX file of unsigned bytes.

    No more is decompressed than the header announces.

    Parameters
    ----------
    path : Path
    ndim : int
        Number of axes expected: 3 for images, 1 for labels.

    Returns
    -------
    array of ``ndim`` axes, uint8, read-only

    Raises
    ------
    CorruptFileError
        If the file is not gzip, is damaged, truncated or too long, or is not an
        IDX file of unsigned bytes with ``ndim`` axes.
    OSError
        If the file cannot be opened.
    """
    path, ndim = check_path(path, "path"), check_count(ndim, "ndim")
    with gzip.open(path) as stream:
        try:
            shape = _read_header(stream, path, ndim)
            size = math.prod(shape)
            content = stream.read(size)
            # the byte too many also makes gzip verify its checksum at the end
            trailing = stream.read(1)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise CorruptFileError(
                f"{path}: expected an intact gzip file, got one that is damaged or truncated "
                f"({error}); delete it and download it again"
            ) from error
    if len(content) < size or trailing:
        came = "more" if trailing else f"{len(content):,}"
        raise CorruptFileError(
            f"{path}: expected {size:,} bytes after the header, for the shape {shape} it "
            f"announces, got {came}; delete the file and download it again"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)  # (n,) or (n, rows, columns)


def _read_header(stream: gzip.GzipFile, path: Path, ndim: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * ndim)
    magic = bytes([0, 0, UNSIGNED_BYTE, ndim])
    if len(header) < 4 + 4 * ndim or header[:4] != magic:
        raise CorruptFileError(
            f"{path}: expected the {4 + 4 * ndim} bytes of an IDX header that begins with "
            f"{magic.hex()} (unsigned bytes, {ndim} axes), got {header.hex()}; "
            "is this the right file?"
        )
    shape = struct.unpack(f">{ndim}I", header[4:])
    if not 0 < math.prod(shape) <= LARGEST:
        raise CorruptFileError(
            f"{path}: expected a header that announces 1 to {LARGEST:,} bytes, got the shape "
            f"{shape}; delete the file and download it again"
        )
    return shape


def read_mnist(images: Path, labels: Path) -> Labelled:
    """Read a pair of MNIST files.

    Parameters
    ----------
    images, labels : Path
        For example ``train-images-idx3-ubyte.gz`` and ``train-labels-idx1-ubyte.gz``.

    Returns
    -------
    images : array of shape (n, 1, 28, 28), uint8, read-only
    labels : array of shape (n,), uint8 in 0..9, read-only

    Raises
    ------
    CorruptFileError
        If a file is damaged, images are not 28 x 28, a label exceeds 9 or the
        two files differ in length.
    OSError
        If a file cannot be opened.
    """
    images, labels = check_path(images, "images"), check_path(labels, "labels")
    x, digits = read_idx(images, 3), read_idx(labels, 1)
    if x.shape[1:] != (SIDE, SIDE):
        raise CorruptFileError(
            f"{images}: expected images of {SIDE} x {SIDE} pixels, got {x.shape[1]} x "
            f"{x.shape[2]}; is this an MNIST file?"
        )
    if digits.max() >= CLASSES:
        raise CorruptFileError(
            f"{labels}: expected labels 0 to {CLASSES - 1}, got {digits.max()} in row "
            f"{digits.argmax()}; is this an MNIST file?"
        )
    if len(x) != len(digits):
        raise CorruptFileError(
            f"{labels}: expected {len(x)} labels, as many as {images} has images, got "
            f"{len(digits)}; take both files from the same set"
        )
    return x[:, np.newaxis], digits  # (n, 1, 28, 28), (n,)


def load_mnist(root: Path) -> tuple[Labelled, Labelled]:
    """Read `MNIST_FILES` under ``root``.

    Returns
    -------
    training : pair (images, labels)
        As from `read_mnist`.
    test : pair (images, labels)
        The same of the test files.

    Raises
    ------
    CorruptFileError, OSError
        As in `read_mnist`.
    """
    root = check_path(root, "root")
    files = [root / file for file in MNIST_FILES]
    return read_mnist(*files[:2]), read_mnist(*files[2:])
