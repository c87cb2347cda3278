"""Where images are looked for, the embedded ones, and the paper's split."""

import gzip
import os
import struct

import numpy as np
import pytest

from kkt_ref.datasets import (
    ImageSet,
    binary_split,
    cache_root,
    default_images,
    embedded_images,
    ten_class_split,
)


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without data: no variable, an empty cache; returns the cache's root."""
    monkeypatch.delenv("KKT_REF_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kkt_ref"


def put_mnist(root, n):
    folder = root / "mnist"
    folder.mkdir(parents=True)
    for part in ("train", "t10k"):
        images = b"\0\0\x08\x03" + struct.pack(">3I", n, 28, 28) + bytes(n * 28 * 28)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        labels = b"\0\0\x08\x01" + struct.pack(">I", n) + bytes(n)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))


def put_cifar10(root, n):
    folder = root / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for batch in ("data_batch_1.bin", "test_batch.bin"):
        (folder / batch).write_bytes(bytes(n * 3073))


def small_set(labels, name="cifar10"):
    """Image k is constant k."""
    labels = np.array(labels, np.uint8)
    values = np.arange(len(labels), dtype=np.uint8)
    images = np.broadcast_to(values[:, None, None, None], (len(labels), 3, 2, 2))
    return ImageSet(name, "made here", images, labels, images, labels)


def test_cache_root(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "kkt_ref"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert cache_root() == tmp_path / ".cache" / "kkt_ref"


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
def test_embedded_images_are_balanced(name, shape, n):
    data = embedded_images(name)
    assert data.images.shape == (n, *shape) and data.images.dtype == np.uint8
    assert data.labels.shape == (n,) and data.labels.dtype == np.uint8
    split = binary_split(data, n)
    assert split.y.sum() == 0 and split.shape == shape
    assert len(np.unique(split.x, axis=0)) == n


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


def test_split_takes_the_first_of_each_class_in_file_order():
    #     file order:   0  1  2  3  4  5  6  7  8  9
    data = small_set([2, 3, 0, 4, 9, 5, 8, 1, 6, 7])
    split = binary_split(data, 4, 4, 2)
    assert split.y.tolist() == [-1, -1, 1, 1] and split.y.dtype == np.float64
    assert split.unseen_y.tolist() == [-1, -1, 1, 1]
    assert split.test_y.tolist() == [-1, 1]
    rows = {"x": [0, 1, 2, 4], "unseen_x": [3, 5, 6, 7], "test_x": [0, 2]}
    for part, expected in rows.items():
        restored = 255 * (getattr(split, part) + split.mean)
        np.testing.assert_allclose(restored, np.repeat(np.array(expected)[:, None], 12, axis=1))
    np.testing.assert_allclose(split.mean, np.full(12, 7 / 4 / 255))


def test_ten_classes_are_equally_many():
    data = embedded_images("mnist")
    split = ten_class_split(data, 20, 10)
    assert split.y.dtype.kind == "i" and np.bincount(split.y).tolist() == [2] * 10
    assert np.bincount(split.unseen_y).tolist() == [1] * 10 and len(split.test_y) == 0
    restored = np.round(255 * (split.x + split.mean)).astype(np.uint8)
    images = data.images.reshape(len(data.images), -1)
    for image, label in zip(restored, split.y, strict=True):
        first_two = images[data.labels == label][:2]
        assert np.any(np.all(image == first_two, axis=1))
    with pytest.raises(ValueError, match="n: expected a multiple of 10"):
        ten_class_split(data, 15)


def test_split_is_centred_and_flattened_by_channel():
    data = embedded_images("mnist")
    split = binary_split(data, 20, 6)
    assert split.x.shape == (20, 784) and split.x.dtype == np.float64
    assert split.unseen_x.shape == (6, 784) and split.test_x.shape == (0, 784)
    np.testing.assert_allclose(split.x.mean(axis=0), 0, atol=1e-14)
    restored = 255 * (split.x[0] + split.mean)
    np.testing.assert_allclose(restored, data.images[0].ravel(), atol=1e-10)


@pytest.mark.parametrize(
    "sizes, message",
    [
        ({"n": 3}, "n: expected a multiple of 2.*got 3"),
        ({"n": 2, "unseen": 1}, "unseen: expected a multiple of 2"),
        ({"n": 22}, "at most 20 images for n = 22 "),
        ({"n": 16, "unseen": 6}, "at most 4 images for unseen = 6 "),
        ({"n": 2, "test": 2}, "at most 0 images for test = 2 .*embedded cifar10.npz"),
    ],
)
def test_impossible_splits_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        binary_split(embedded_images("cifar10"), **sizes)
