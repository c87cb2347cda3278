"""The paper's two-class problem: odd against even digits, vehicles against animals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kkt_ref._validation import check_count, check_kind
from kkt_ref.datasets.images import ImageSet

POSITIVE = {"mnist": (1, 3, 5, 7, 9), "cifar10": (0, 1, 8, 9)}  # odd digits; vehicles


@dataclass(frozen=True, eq=False)
class BinarySplit:
    """A balanced two-class problem, d = channels * height * width; all arrays are float64.

    ``(x + mean).reshape(-1, *shape)`` are the images again, with pixels in [0, 1].
    """

    name: str  # as in ImageSet
    source: str  # as in ImageSet
    shape: tuple[int, int, int]  # (channels, height, width)
    mean: np.ndarray  # (d,), of the training samples; subtracted from all
    x: np.ndarray  # (n, d), training samples
    y: np.ndarray  # (n,), labels -1 or +1
    unseen_x: np.ndarray  # (unseen, d), held out, from the training file
    unseen_y: np.ndarray  # (unseen,)
    test_x: np.ndarray  # (test, d), from the test file
    test_y: np.ndarray  # (test,)


def binary_split(data: ImageSet, n: int, unseen: int = 0, test: int = 0) -> BinarySplit:
    """Make the two-class problem of Haim et al.

    Odd digits and vehicles have the label +1, even digits and animals -1.  The training set is the
    first n/2 images of each class, in the order of the file.  The unseen images are the next
    unseen/2 of each class in the same file, the test images the first test/2 in the test file.
    The mean of the training set is subtracted from all.

    Parameters
    ----------
    data : ImageSet
    n : int
        Number of training images, even, at least 2.
    unseen, test : int
        Numbers of held-out images, even, at least 0.

    Returns
    -------
    BinarySplit

    Raises
    ------
    TypeError
        If ``data`` is not an ImageSet.
    ValueError
        If a number is odd or too small, or a file has too few images of a class.
    """
    check_kind(data, ImageSet, "data")
    for count, what, minimum in ((n, "n", 2), (unseen, "unseen", 0), (test, "test", 0)):
        if check_count(count, what, minimum) % 2:
            raise ValueError(f"{what}: expected an even number, half of each class, got {count}")
    y = np.where(np.isin(data.labels, POSITIVE[data.name]), 1.0, -1.0)  # (N,)
    test_y = np.where(np.isin(data.test_labels, POSITIVE[data.name]), 1.0, -1.0)
    train_rows = _balanced_rows(y, 0, n, f"n = {n} training", data)
    unseen_rows = _balanced_rows(y, n, unseen, f"unseen = {unseen} more", data)
    test_rows = _balanced_rows(test_y, 0, test, f"test = {test} test", data)
    x = _flat(data.images[train_rows])  # (n, d)
    mean = x.mean(axis=0)  # (d,)
    return BinarySplit(
        name=data.name,
        source=data.source,
        shape=data.images.shape[1:],
        mean=mean,
        x=x - mean,
        y=y[train_rows],
        unseen_x=_flat(data.images[unseen_rows]) - mean,
        unseen_y=y[unseen_rows],
        test_x=_flat(data.test_images[test_rows]) - mean,
        test_y=test_y[test_rows],
    )


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), np.prod(images.shape[1:])) / 255.0  # (rows, d)


def _balanced_rows(y: np.ndarray, skip: int, count: int, what: str, data: ImageSet) -> np.ndarray:
    """Return the rows, ascending, of count/2 samples of each class after its first skip/2."""
    of_class = [np.flatnonzero(y == sign) for sign in (-1.0, 1.0)]
    available = 2 * max(min(len(rows) for rows in of_class) - skip // 2, 0)
    if count > available:
        raise ValueError(
            f"binary_split: expected at most {available} images for {what} images from "
            f"{data.source}; ask for fewer, or load the official files (see default_images)"
        )
    half = slice(skip // 2, (skip + count) // 2)
    return np.sort(np.concatenate([rows[half] for rows in of_class]))  # (count,)
