"""Real images: where they are looked for, the embedded few, and the paper's binary split."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from kkt_ref.checks import check_count
from kkt_ref.cifar import CIFAR10_FILES, load_cifar10
from kkt_ref.idx import MNIST_FILES, load_mnist

VARIABLE = "KKT_REF_DATA"
NEEDED = {"mnist": MNIST_FILES, "cifar10": CIFAR10_FILES}
LOAD = {"mnist": load_mnist, "cifar10": load_cifar10}
POSITIVE = {"mnist": (1, 3, 5, 7, 9), "cifar10": (0, 1, 8, 9)}  # odd digits; vehicles


class MissingDataError(FileNotFoundError):
    """The official files of a data set are in none of the places looked at."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images as published, in file order.

    The test arrays have length 0 in the embedded sets.
    """

    name: str  # "mnist" or "cifar10"
    source: str  # the folder they were read from, or the embedded file
    images: np.ndarray  # (N, channels, height, width), uint8
    labels: np.ndarray  # (N,), uint8 in 0..9
    test_images: np.ndarray  # (T, channels, height, width), uint8
    test_labels: np.ndarray  # (T,), uint8 in 0..9


@dataclass(frozen=True, eq=False)
class BinarySplit:
    """A balanced two-class problem, d = channels * height * width.

    ``(x + mean).reshape(-1, *shape)`` are the images again, in [0, 1]. All arrays are
    float64, labels -1 or +1.
    """

    name: str  # as in ImageSet
    source: str  # as in ImageSet
    shape: tuple[int, int, int]  # (channels, height, width)
    mean: np.ndarray  # (d,), of the training samples; subtracted from all
    x: np.ndarray  # (n, d), training samples
    y: np.ndarray  # (n,)
    unseen_x: np.ndarray  # (unseen, d), held out, from the training file
    unseen_y: np.ndarray  # (unseen,)
    test_x: np.ndarray  # (test, d), from the test file
    test_y: np.ndarray  # (test,)


def cache_root() -> Path:
    """Folder for downloads: ``kkt_ref`` in ``XDG_CACHE_HOME``, by default ``~/.cache``."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # the XDG specification has relative paths ignored
    return (base if base.is_absolute() else Path.home() / ".cache") / "kkt_ref"


def official_images(name: str, root: str | Path | None = None) -> ImageSet:
    """Load the official files.

    They are looked for, under the paths in `NEEDED`, in ``root`` if given, otherwise in
    the folder that the environment variable ``KKT_REF_DATA`` names, then in `cache_root`.
    CIFAR-10's data_batch_2 to 5 are appended as far as they are there without a gap.

    Parameters
    ----------
    name : "mnist" or "cifar10"
    root : path, optional
        The one folder to look in.

    Returns
    -------
    ImageSet

    Raises
    ------
    MissingDataError
        If no folder holds all the files needed.
    CorruptFileError
        If a file is damaged; the message names it.
    ValueError
        If ``name`` is unknown.
    """
    _check_name(name)
    roots = _roots(root)
    for folder in roots:
        if not _missing(name, folder):
            training, test = LOAD[name](folder)
            return ImageSet(name, str(folder), *training, *test)
    raise MissingDataError(_what_is_missing(name, roots))


def embedded_images(name: str) -> ImageSet:
    """Load the few real images that come with the package.

    MNIST: the first 500 odd and the first 500 even digits of the training file, in
    file order, so that splits of up to 1000 images equal the official ones. CIFAR-10:
    the first 20 images of the *test* file, 10 vehicles and 10 animals.

    Parameters
    ----------
    name : "mnist" or "cifar10"

    Returns
    -------
    ImageSet
        Without test images.

    Raises
    ------
    ValueError
        If ``name`` is unknown.
    """
    _check_name(name)
    with (
        resources.as_file(resources.files("kkt_ref") / "embedded" / f"{name}.npz") as path,
        np.load(path, allow_pickle=False) as arrays,
    ):
        images, labels = arrays["images"], arrays["labels"]
    return ImageSet(name, f"embedded {name}.npz", images, labels, images[:0], labels[:0])


def default_images(name: str, root: str | Path | None = None) -> ImageSet:
    """Load the official files, or the embedded images if nobody said where files are.

    Parameters
    ----------
    name : "mnist" or "cifar10"
    root : path, optional
        As in `official_images`.

    Returns
    -------
    ImageSet
        Its ``source`` says which it is.

    Raises
    ------
    MissingDataError
        If ``root`` or ``KKT_REF_DATA`` is given and the files are not found.
    CorruptFileError, ValueError
        As in `official_images`.
    """
    try:
        return official_images(name, root)
    except MissingDataError:
        if root is not None or os.environ.get(VARIABLE):
            raise
        return embedded_images(name)


def binary_split(data: ImageSet, n: int, unseen: int = 0, test: int = 0) -> BinarySplit:
    """Make the paper's two-class problem.

    +1 are odd digits, or vehicles (CIFAR-10 classes 0, 1, 8, 9); -1 even digits, or
    animals. The training set is the first n/2 images of each class; the two classes
    stay interleaved as they are in the file. The unseen images are the next
    unseen/2 of each class in the same file, the test images the first test/2 of each
    class in the test file, ordered likewise. Pixels are scaled to [0, 1] and the mean
    of the training set is subtracted from all.

    Parameters
    ----------
    data : ImageSet
    n : int
        Number of training images, even, at least 2.
    unseen, test : int
        Number of held-out images, even.

    Returns
    -------
    BinarySplit

    Raises
    ------
    ValueError
        If a number is odd or negative or a file has too few images of a class.
    """
    n = _check_even(n, "n", 2)
    unseen, test = _check_even(unseen, "unseen", 0), _check_even(test, "test", 0)
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


def _check_even(value: int, name: str, minimum: int) -> int:
    if check_count(value, name, minimum) % 2:
        raise ValueError(f"{name}: expected an even number, half of each class, got {value}")
    return int(value)


def _balanced_rows(y: np.ndarray, skip: int, count: int, what: str, data: ImageSet) -> np.ndarray:
    """Rows, ascending, of count/2 samples a class after its first skip/2."""
    of_class = [np.flatnonzero(y == sign) for sign in (-1.0, 1.0)]
    available = 2 * max(min(len(rows) for rows in of_class) - skip // 2, 0)
    if count > available:
        raise ValueError(
            f"binary_split: expected at most {available} images for {what} images from "
            f"{data.source}; ask for fewer or, with official_images, load the official files"
        )
    half = slice(skip // 2, (skip + count) // 2)
    return np.sort(np.concatenate([rows[half] for rows in of_class]))  # (count,)


def _check_name(name: str) -> None:
    if name not in NEEDED:
        raise ValueError(f"name: expected one of {', '.join(NEEDED)}, got {name!r}")


def _roots(root: str | Path | None) -> list[Path]:
    if root is not None:
        return [Path(root).expanduser()]
    named = os.environ.get(VARIABLE)
    return ([Path(named).expanduser()] if named else []) + [cache_root()]


def _missing(name: str, root: Path) -> list[str]:
    return [file for file in NEEDED[name] if not (root / file).is_file()]


def _what_is_missing(name: str, roots: list[Path]) -> str:
    places = [f"  {root} lacks {', '.join(_missing(name, root))}" for root in roots]
    return "\n".join(
        [f"{name}: expected the official files in one folder, found them in none of"]
        + places
        + [
            f"Set {VARIABLE} to a folder that has them, or download them to {cache_root()} with",
            f'  python -c "from kkt_ref.download import download_{name} as get; get()"',
            f'or use the few images in the package: kkt_ref.images.embedded_images("{name}").',
        ]
    )
