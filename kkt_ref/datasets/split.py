"""Classification problems: the paper's two classes, and all ten."""

from dataclasses import dataclass

import numpy as np

from kkt_ref._validation import check_count, check_kind
from kkt_ref.datasets.images import ImageSet

POSITIVE = {"mnist": (1, 3, 5, 7, 9), "cifar10": (0, 1, 8, 9)}  # odd digits; vehicles


@dataclass(frozen=True, eq=False)
class Split:
    """A balanced problem of classes, d = channels * height * width; x and mean are float64.

    ``(x + mean).reshape(-1, *shape)`` are the images again, with pixels in [0, 1].
    """

    name: str  # as in ImageSet
    source: str  # as in ImageSet
    shape: tuple[int, int, int]  # (channels, height, width)
    mean: np.ndarray  # (d,), of the training samples; subtracted from all
    x: np.ndarray  # (n, d), training samples
    y: np.ndarray  # (n,), labels -1 and +1 in float64, or classes 0 ... 9 as integers
    unseen_x: np.ndarray  # (unseen, d), held out, from the training file
    unseen_y: np.ndarray  # (unseen,)
    test_x: np.ndarray  # (test, d), from the test file
    test_y: np.ndarray  # (test,)


def binary_split(data: ImageSet, n: int, unseen: int = 0, test: int = 0) -> Split:
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
    Split

    Raises
    ------
    TypeError
        If ``data`` is not an ImageSet.
    ValueError
        If a number is odd or too small, or a file has too few images of a class.
    """
    check_kind(data, ImageSet, "data")
    labels = (
        np.where(np.isin(given, POSITIVE[data.name]), 1.0, -1.0)
        for given in (data.labels, data.test_labels)
    )
    return _split(data, *labels, np.array([-1.0, 1.0]), n, unseen, test)


def ten_class_split(data: ImageSet, n: int, unseen: int = 0, test: int = 0) -> Split:
    """Make the problem of all ten classes, with n/10 training images of each.

    The images are chosen as by :func:`binary_split`: the first of each class in the order of the
    file, then the next ones as unseen images.

    Parameters
    ----------
    data : ImageSet
    n : int
        Number of training images, a multiple of 10, at least 10.
    unseen, test : int
        Numbers of held-out images, multiples of 10, at least 0.

    Returns
    -------
    Split
        With the classes 0 ... 9 as integers; errors are as in :func:`binary_split`.
    """
    check_kind(data, ImageSet, "data")
    labels = data.labels.astype(np.int64), data.test_labels.astype(np.int64)
    return _split(data, *labels, np.arange(10), n, unseen, test)


def _split(
    data: ImageSet,
    y: np.ndarray,
    test_y: np.ndarray,
    classes: np.ndarray,
    n: int,
    unseen: int,
    test: int,
) -> Split:
    """Choose images of the given labels, equally many of each class."""
    K = len(classes)
    for count, what, minimum in ((n, "n", K), (unseen, "unseen", 0), (test, "test", 0)):
        if check_count(count, what, minimum) % K:
            raise ValueError(
                f"{what}: expected a multiple of {K}, as many of each class, got {count}"
            )

    def chosen(labels: np.ndarray, skip: int, count: int, what: str) -> np.ndarray:
        of_class = [np.flatnonzero(labels == label)[skip // K :] for label in classes]
        available = K * min(len(rows) for rows in of_class)
        if count > available:
            raise ValueError(
                f"data: expected at most {available} images for {what} = {count} from "
                f"{data.source}; ask for fewer, or load the official files (see default_images)"
            )
        return np.sort(np.concatenate([rows[: count // K] for rows in of_class]))  # (count,)

    def pixels(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return images[rows].reshape(len(rows), np.prod(images.shape[1:])) / 255.0  # (count, d)

    rows, unseen_rows = chosen(y, 0, n, "n"), chosen(y, n, unseen, "unseen")
    test_rows, x = chosen(test_y, 0, test, "test"), pixels(data.images, rows)
    mean, shape = x.mean(axis=0), data.images.shape[1:]  # (d,)
    parts = (
        *(x - mean, y[rows]),
        *(pixels(data.images, unseen_rows) - mean, y[unseen_rows]),
        *(pixels(data.test_images, test_rows) - mean, test_y[test_rows]),
    )
    return Split(data.name, data.source, shape, mean, *parts)
