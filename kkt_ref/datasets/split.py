"""The paper's two-class problem: odd against even digits, vehicles against animals."""

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
    training, tested = (data.images, data.labels), (data.test_images, data.test_labels)
    x, y = _balanced(data, *training, 0, n, f"n = {n} training")
    unseen_x, unseen_y = _balanced(data, *training, n, unseen, f"unseen = {unseen} more")
    test_x, test_y = _balanced(data, *tested, 0, test, f"test = {test} test")
    mean, shape = x.mean(axis=0), data.images.shape[1:]  # (d,)
    parts = x - mean, y, unseen_x - mean, unseen_y, test_x - mean, test_y
    return BinarySplit(data.name, data.source, shape, mean, *parts)


def _balanced(
    data: ImageSet, images: np.ndarray, labels: np.ndarray, skip: int, count: int, what: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels and ±1 of count/2 images of each class after its first skip/2."""
    y = np.where(np.isin(labels, POSITIVE[data.name]), 1.0, -1.0)  # (N,)
    of_class = [np.flatnonzero(y == sign) for sign in (-1.0, 1.0)]
    available = 2 * max(min(len(rows) for rows in of_class) - skip // 2, 0)
    if count > available:
        raise ValueError(
            f"binary_split: expected at most {available} images for {what} images from "
            f"{data.source}; ask for fewer, or load the official files (see default_images)"
        )
    half = slice(skip // 2, (skip + count) // 2)
    rows = np.sort(np.concatenate([rows[half] for rows in of_class]))  # (count,)
    return images[rows].reshape(count, np.prod(images.shape[1:])) / 255.0, y[rows]
