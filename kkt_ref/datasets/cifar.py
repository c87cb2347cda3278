"""Reader of CIFAR-10's binary batches.

A batch is a sequence of records of 3073 bytes: one label, then the red, the
green and the blue plane of 32 x 32 pixels, each row by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np

from kkt_ref._validation import check_path
from kkt_ref.datasets.idx import CorruptFileError, Labelled

SHAPE = (3, 32, 32)  # channels, height, width
CLASSES = 10
RECORD = 1 + 3 * 32 * 32  # bytes
CIFAR10_FILES = ("cifar-10-batches-bin/data_batch_1.bin", "cifar-10-batches-bin/test_batch.bin")


def read_cifar10(paths: Sequence[Path]) -> Labelled:
    """Read binary batches and join them in the order given.

    Parameters
    ----------
    paths : sequence of Path
        At least one, for example ``data_batch_1.bin``; each holds one or more
        whole records.

    Returns
    -------
    images : array of shape (n, 3, 32, 32), uint8
    labels : array of shape (n,), uint8 in 0..9

    Raises
    ------
    CorruptFileError
        If a file is empty, ends within a record or has a label above 9.
    OSError
        If a file cannot be opened.
    """
    if not isinstance(paths, (list, tuple)) or not paths:
        raise TypeError(f"paths: expected a list of one path or more, got {paths!r}")
    records = np.concatenate(
        [_read_batch(check_path(path, "paths")) for path in paths]
    )  # (n, 3073)
    return records[:, 1:].reshape(-1, *SHAPE), records[:, 0]  # (n, 3, 32, 32), (n,)


def _read_batch(path: Path) -> np.ndarray:
    content = np.fromfile(path, np.uint8)
    if not content.size or content.size % RECORD:
        raise CorruptFileError(
            f"{path}: expected one or more records of {RECORD} bytes, got {content.size:,} bytes; "
            "delete the file and download it again"
        )
    records = content.reshape(-1, RECORD)  # (n, 3073)
    labels = records[:, 0]
    if labels.max() >= CLASSES:
        raise CorruptFileError(
            f"{path}: expected labels 0 to {CLASSES - 1}, got {labels.max()} in record "
            f"{labels.argmax()}; is this the binary version of CIFAR-10?"
        )
    return records


def load_cifar10(root: Path) -> tuple[Labelled, Labelled]:
    """Read `CIFAR10_FILES` under ``root``.

    data_batch_2 to 5 are appended as far as they are there without a gap.

    Returns
    -------
    training : pair (images, labels)
        As from `read_cifar10`.
    test : pair (images, labels)
        The same of the test files.

    Raises
    ------
    CorruptFileError, OSError
        As in `read_cifar10`.
    """
    root = check_path(root, "root")
    first, test = (root / file for file in CIFAR10_FILES)
    further = (first.with_name(f"data_batch_{number}.bin") for number in range(2, 6))
    return read_cifar10([first, *takewhile(Path.is_file, further)]), read_cifar10([test])
