"""Classification problems: the paper's two classes, and all ten.

The training set is the first n/K images of each of the K classes, in the order of the file.  The
unseen images are the next ones of each class in the same file, the test images the first ones in
the test file.  The mean of the training set is subtracted from all.

A number that is no multiple of K, or for which a file has too few images, raises ValueError.
"""

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
    """Make the problem of Haim et al.: odd digits and vehicles are +1, even digits and animals -1.

    The numbers of images are even, and n is at least 2.
    """
    check_kind(data, ImageSet, "data")
    return _split(
        data, np.where(np.isin(range(10), POSITIVE[data.name]), 1.0, -1.0), n, unseen, test
    )


def ten_class_split(data: ImageSet, n: int, unseen: int = 0, test: int = 0) -> Split:
    """Make the problem of all ten classes; the numbers of images are multiples of 10, n > 0."""
    check_kind(data, ImageSet, "data")
    return _split(data, np.arange(10), n, unseen, test)


def _split(data: ImageSet, label_of: np.ndarray, n: int, unseen: int, test: int) -> Split:
    """Choose images, equally many of each label; ``label_of`` (10,) has those of the classes."""
    y, test_y, labels = label_of[data.labels], label_of[data.test_labels], np.unique(label_of)
    K = len(labels)

    def rows_of(y: np.ndarray, skip: int, count: int, what: str) -> np.ndarray:
        if check_count(count, what, K if what == "n" else 0) % K:
            raise ValueError(
                f"{what}: expected a multiple of {K}, as many of each class, got {count}"
            )
        of_label = [np.flatnonzero(y == label)[skip // K :] for label in labels]
        available = K * min(map(len, of_label))
        if count > available:
            raise ValueError(
                f"data: expected at most {available} images for {what} = {count} from "
                f"{data.source}; ask for fewer, or load the official files (see default_images)"
            )
        return np.sort(np.concatenate([rows[: count // K] for rows in of_label]))  # (count,)

    def pixels(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return images[rows].reshape(len(rows), np.prod(images.shape[1:])) / 255.0  # (count, d)

    rows, unseen_rows = rows_of(y, 0, n, "n"), rows_of(y, n, unseen, "unseen")
    test_rows, x = rows_of(test_y, 0, test, "test"), pixels(data.images, rows)
    mean, shape = x.mean(axis=0), data.images.shape[1:]  # (d,)
    parts = (
        *(x - mean, y[rows]),
        *(pixels(data.images, unseen_rows) - mean, y[unseen_rows]),
        *(pixels(data.test_images, test_rows) - mean, test_y[test_rows]),
    )
    return Split(data.name, data.source, shape, mean, *parts)
