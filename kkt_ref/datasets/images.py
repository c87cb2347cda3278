"""MNIST and CIFAR-10: the official files if they are there, or the few embedded images."""

import os
from dataclasses import dataclass
from importlib import resources
from itertools import takewhile
from pathlib import Path

import numpy as np

from kkt_ref._validation import check_path
from kkt_ref.datasets.readers import Labelled, read_cifar10, read_mnist

VARIABLE = "KKT_REF_DATA"
MNIST_FILES = tuple(
    f"mnist/{part}-ubyte.gz"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
)
CIFAR10_FILES = ("cifar-10-batches-bin/data_batch_1.bin", "cifar-10-batches-bin/test_batch.bin")
NEEDED = {"mnist": MNIST_FILES, "cifar10": CIFAR10_FILES}
# commands that bring the official files into a folder that exists
COMMANDS = {
    "mnist": 'curl --create-dirs --output-dir "{}/mnist" --remote-name-all "https://ossci-datasets'
    '.s3.amazonaws.com/mnist/{{train,t10k}}-{{images-idx3,labels-idx1}}-ubyte.gz"',
    "cifar10": 'curl https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz | tar -xzC "{}"',
}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images as published, in the order of the file; the embedded sets have no test images."""

    name: str  # "mnist" or "cifar10"
    source: str  # the folder they were read from, or the embedded file
    images: np.ndarray  # (N, channels, height, width), uint8
    labels: np.ndarray  # (N,), uint8 in 0..9
    test_images: np.ndarray  # (T, channels, height, width), uint8
    test_labels: np.ndarray  # (T,), uint8 in 0..9


def default_images(name: str, root: str | Path | None = None) -> ImageSet:
    """Load the official files, or the embedded images if no folder was named.

    The official files are searched in ``root``, by default in the folder that the environment
    variable ``KKT_REF_DATA`` names.  If it lacks one of them, a FileNotFoundError names the command
    that downloads them.  CIFAR-10's data_batch_2 to 5 are appended, up to the first that is
    missing.

    Parameters
    ----------
    name : {"mnist", "cifar10"}
    root : path-like, optional
    """
    check_name(name)
    named = os.environ.get(VARIABLE) if root is None else check_path(root, "root")
    if not named:
        return embedded_images(name)
    folder = Path(os.path.expanduser(named))
    lacks = [file for file in NEEDED[name] if not os.path.isfile(stored(folder / file))]
    if lacks:
        raise FileNotFoundError(
            f"{name}: expected the official files, but {folder} lacks {', '.join(lacks)}\n"
            f"Name another folder in {VARIABLE}, or download the files with\n"
            f"  {COMMANDS[name].format(folder)}"
        )
    training, test = _read(name, [stored(folder / file) for file in NEEDED[name]])
    return ImageSet(name, str(folder), *training, *test)


def embedded_images(name: str) -> ImageSet:
    """Load the few real images that come with the package.

    "mnist": the first 500 odd and the first 500 even digits of the training file, in its order, so
    that splits of up to 1000 images equal the official ones.  "cifar10": the first 20 images of
    the *test* file, 10 vehicles and 10 animals.
    """
    check_name(name)
    path = resources.files("kkt_ref.datasets") / "embedded" / f"{name}.npz"
    with path.open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    return ImageSet(name, f"embedded {name}.npz", images, labels, images[:0], labels[:0])


def check_name(name: str) -> None:
    """Raise unless ``name`` is that of a data set."""
    if not isinstance(name, str) or name not in NEEDED:
        raise ValueError(f"name: expected one of {', '.join(NEEDED)}, got {name!r}")


def stored(path: Path) -> Path:
    """Return the path of a file, or of its decompressed form if only that is there."""
    return path if os.path.isfile(path) or path.suffix != ".gz" else path.with_suffix("")


def _read(name: str, files: list[Path]) -> tuple[Labelled, Labelled]:
    if name == "mnist":
        return read_mnist(*files[:2]), read_mnist(*files[2:])
    first, test = files
    further = (first.with_name(f"data_batch_{number}.bin") for number in range(2, 6))
    return read_cifar10([first, *takewhile(Path.is_file, further)]), read_cifar10([test])
