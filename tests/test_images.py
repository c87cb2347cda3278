"""Where images are looked for, the embedded ones, and the splits into classes."""

import gzip
import os

import numpy as np
import pytest

from kkt_ref.datasets import (
    ImageSet,
    binary_split,
    cache_root,
    default_images,
    download_images,
    embedded_images,
    ten_class_split,
)
from tests.datafiles import put_cifar10, put_mnist


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without data: no variable, an empty cache; returns the cache's root."""
    monkeypatch.delenv("KKT_REF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kkt_ref"


def test_cache_root(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "kkt_ref"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_root() == tmp_path / ".cache" / "kkt_ref"


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_user_without_a_home_gets_the_embedded_images(monkeypatch, name):
    for variable in ("HOME", "XDG_CACHE_HOME", "KKT_REF_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where the user has no entry
    assert default_images(name).source == f"embedded {name}.npz"
    pytest.importorskip("pooch", reason="needs the extra data")
    with pytest.raises(ValueError, match="root: expected a folder, since this user has no home"):
        download_images(name)


def test_decompressed_files_serve_as_well(bare):
    put_mnist(bare, 3)
    for path in (bare / "mnist").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert default_images("mnist").source == str(bare)
    assert download_images("mnist") == bare  # asks no server


@pytest.mark.parametrize("name, put", [("mnist", put_mnist), ("cifar10", put_cifar10)])
def test_order_of_the_places(bare, tmp_path, monkeypatch, name, put):
    assert default_images(name).source == f"embedded {name}.npz"
    put(bare, 3)
    assert len(default_images(name).images) == 3
    put(tmp_path / "variable", 4)
    monkeypatch.setenv("KKT_REF_DATA", str(tmp_path / "variable"))
    assert len(default_images(name).images) == 4
    put(tmp_path / "given", 5)
    found = default_images(name, tmp_path / "given")
    assert len(found.test_images) == 5 and found.source == str(tmp_path / "given")
    monkeypatch.setenv("KKT_REF_DATA", str(tmp_path / "elsewhere"))
    assert len(default_images(name).images) == 3
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        default_images(name, tmp_path / "elsewhere")


def test_further_batches_of_cifar10_are_appended_up_to_a_gap(tmp_path):
    put_cifar10(tmp_path, 1)
    for number in (2, 3, 5):
        batch = tmp_path / f"cifar-10-batches-bin/data_batch_{number}.bin"
        batch.write_bytes(bytes([number]) * 3073)
    data = default_images("cifar10", tmp_path)
    assert data.images.mean(axis=(1, 2, 3)).tolist() == data.labels.tolist() == [0, 2, 3]


def test_missing_data_says_what_where_and_how(bare, tmp_path, monkeypatch):
    monkeypatch.setenv("KKT_REF_DATA", str(tmp_path / "variable"))
    put_mnist(tmp_path / "variable", 2)
    gone = tmp_path / "variable/mnist/t10k-labels-idx1-ubyte.gz"
    gone.unlink()
    with pytest.raises(FileNotFoundError) as error:
        default_images("mnist")
    lines = str(error.value).splitlines()
    assert f"  {tmp_path / 'variable'} lacks mnist/{gone.name}" in lines
    assert any(f"{bare} lacks mnist/train-images" in line for line in lines)
    assert "get('mnist')" in str(error.value) and "KKT_REF_DATA" in str(error.value)
    with pytest.raises(FileNotFoundError, match="cifar10"):
        default_images("cifar10", tmp_path)


@pytest.mark.parametrize(
    "name, shape, n", [("mnist", (1, 28, 28), 1000), ("cifar10", (3, 32, 32), 20)]
)
def test_embedded_images_are_balanced_and_a_split_gives_them_centred_and_flat(name, shape, n):
    data = embedded_images(name)
    assert data.images.shape == (n, *shape) and data.images.dtype == np.uint8
    assert data.labels.shape == (n,) and data.labels.dtype == np.uint8
    split = binary_split(data, n)
    assert (
        split.y.sum() == 0 and split.shape == shape and split.test_x.shape == (0, split.x[0].size)
    )
    assert len(np.unique(split.x, axis=0)) == n
    np.testing.assert_allclose(split.x.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(pixels(split.x, split), data.images.reshape(n, -1), atol=1e-10)


@pytest.mark.skipif(not os.environ.get("KKT_REF_DATA"), reason="needs KKT_REF_DATA")
def test_embedded_images_are_the_official_ones():
    official, embedded = (
        binary_split(load("mnist"), 500, 500) for load in (default_images, embedded_images)
    )
    for part in ("x", "y", "mean", "unseen_x", "unseen_y"):
        np.testing.assert_array_equal(getattr(official, part), getattr(embedded, part))

    official, embedded = default_images("cifar10"), embedded_images("cifar10")
    np.testing.assert_array_equal(embedded.images, official.test_images[:20])
    np.testing.assert_array_equal(embedded.labels, official.test_labels[:20])


def pixels(x, split):
    return 255 * (x + split.mean)


def small_set(labels):
    """Image k is constant k; the test file has the same images backwards."""
    labels = np.array(labels, np.uint8)
    values = np.arange(len(labels), dtype=np.uint8)
    images = np.broadcast_to(values[:, None, None, None], (len(labels), 3, 2, 2))
    return ImageSet("cifar10", "made here", images, labels, images[::-1], labels[::-1])


#                file order:    0  1  2  3  4  5  6  7  8  9
TWO = (binary_split, small_set([2, 3, 0, 4, 9, 5, 8, 1, 6, 7]), (4, 4, 2))
TWO_IMAGES = ([0, 1, 2, 4], [3, 5, 6, 7], [9, 7])
TEN = (ten_class_split, small_set([3, 0, 1, 2, 4, 5, 6, 7, 8, 9] * 3), (10, 20, 10))
TEN_IMAGES = (np.arange(10), np.arange(10, 30), np.arange(29, 19, -1))


@pytest.mark.parametrize(("case", "chosen"), [(TWO, TWO_IMAGES), (TEN, TEN_IMAGES)])
def test_a_split_takes_the_first_of_each_class_in_file_order(case, chosen):
    make, data, sizes = case
    split = make(data, *sizes)
    assert split.y.dtype == (np.float64 if make is binary_split else np.int64)
    for part, numbers in zip(("", "unseen_", "test_"), chosen, strict=True):
        flat = np.repeat(numbers, 12).reshape(-1, 12)
        np.testing.assert_allclose(pixels(getattr(split, f"{part}x"), split), flat)
        labels = data.labels[numbers]
        if make is binary_split:
            labels = np.where(np.isin(labels, (0, 1, 8, 9)), 1, -1)
        np.testing.assert_array_equal(getattr(split, f"{part}y"), labels)
