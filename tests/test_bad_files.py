"""Every file that is read back, damaged at random: read whole, or refused in words."""

import gzip
import os
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kkt_ref
from kkt_ref._io import claim, read_npz
from kkt_ref.attacks.restarts import run_alternations
from kkt_ref.conformance.golden import write_golden
from kkt_ref.datasets.readers import RECORD, read_cifar10, read_idx
from kkt_ref.training import resumable_descent
from tests.public import NET, PROBLEM, X, Y


def descend(path):
    options = dict(rate=1.0, target_loss=1e-9, max_steps=4, record_every=2)
    result = resumable_descent(path.parent, NET, X, Y, **options).result
    return [result.net.theta, *result.history.records]


def start(path):
    options = dict(candidates=2, seed=0, restarts=1, folder=path.parent)
    return list(run_alternations(PROBLEM, **options)[0])


def network(path):
    net = kkt_ref.load_net(path)
    return [*net.arrays, str(net.activation)]


class Kind(NamedTuple):
    """A kind of file that kkt_ref reads back."""

    name: str
    load: object  # from its path to a list of values
    guarded: bool  # whether a checksum guards its values


def npz(path):
    return list(read_npz(path, "golden vectors").values())


KINDS = [
    Kind("net.npz", network, True),
    Kind("training.npz", descend, True),
    Kind("start_00000.npz", start, True),
    Kind("golden.npz", npz, True),
    Kind("labels.gz", lambda path: [read_idx(path, 1)], True),
    Kind("batch.bin", lambda path: list(read_cifar10([path])), False),
    Kind("settings.json", lambda path: [claim(path.parent, {"n": 1, "name": "é"}).name], False),
]
ARCHIVES = [kind for kind in KINDS if kind.name.endswith(".npz")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a whole file of each kind, by name."""
    folder = tmp_path_factory.mktemp("whole")
    kkt_ref.save_net(NET, folder / "net.npz")
    descend(folder / "training.npz")
    start(folder / "start_00000.npz")
    write_golden(folder)
    header = bytes([0, 0, 8, 1, 0, 0, 0, 9])
    (folder / "labels.gz").write_bytes(gzip.compress(header + bytes(range(9)), mtime=0))
    (folder / "batch.bin").write_bytes(bytes(2 * RECORD))
    claim(folder, {"n": 1, "name": "é"})
    return {kind.name: (folder / kind.name).read_bytes() for kind in KINDS}


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def read_or_refuse(kind, content):
    """What is read from these bytes, or None if they are refused by the file's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / kind.name
        path.write_bytes(content)
        try:
            return kind.load(path)
        except ValueError as error:
            assert kind.name in str(error) or str(path.parent) in str(error), error
            return None


places = st.integers(0, 2**32 - 1)
DAMAGE = st.one_of(
    st.tuples(st.just("cut"), places),
    st.tuples(st.just("flip"), st.lists(st.tuples(places, st.integers(1, 255)), min_size=1)),
    st.tuples(st.just("zeros"), places, st.integers(1, 400)),
    st.tuples(st.just("extend"), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just("other"), st.binary(max_size=60)),
    st.tuples(st.just("other"), st.sampled_from([b"{}", b"[1]", b"null", b'"text"', b"\x1f\x8b"])),
)


def damaged(content, damage):
    how, *what = damage
    changed = bytearray(content)
    if how == "cut":
        return content[: what[0] % len(content)]
    if how == "flip":
        for place, bits in what[0]:
            changed[place % len(content)] ^= bits
    if how == "zeros":
        place = what[0] % len(content)
        changed[place : place + what[1]] = bytes(len(changed[place : place + what[1]]))
    if how in ("extend", "other"):
        return content * (how == "extend") + what[0]
    return bytes(changed)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=60)
@given(damage=DAMAGE)
def test_damage_is_refused_or_does_no_harm(whole, kind, damage):
    got = read_or_refuse(kind, damaged(whole[kind.name], damage))
    if got is not None and kind.guarded:
        assert same(got, read_or_refuse(kind, whole[kind.name]))


@pytest.mark.parametrize("kind", ARCHIVES, ids=lambda kind: kind.name)
def test_every_flip_of_the_archives_own_bytes(whole, kind):
    """Names, sizes and counts stand at the end, and no checksum guards them."""
    content = whole[kind.name]
    right = read_or_refuse(kind, content)
    directory = content.index(b"PK\x01\x02")
    step = 1 + (len(content) - directory) // (200 if len(right) < 20 else 30)
    for place in range(directory, len(content), step):
        for bits in (0x01, 0x35):
            got = read_or_refuse(kind, damaged(content, ("flip", [(place, bits)])))
            assert got is None or same(got, right), (place, bits)


WRONG = [
    np.array("text"),
    np.array(["a", "b"]),
    np.float64(np.nan),
    np.full((2, 2), np.inf),
    np.zeros((0, 3)),
    np.arange(3),
    np.array(1 + 2j),
    np.zeros((2, 2, 2), np.float16),
    np.zeros(2, [("a", float)]),
    np.array(["2020-01-01"], "M8[D]"),
]


@pytest.mark.parametrize("kind", ARCHIVES[:3], ids=lambda kind: kind.name)
def test_entries_of_another_kind_are_refused(whole, kind, tmp_path):
    path = tmp_path / kind.name
    path.write_bytes(whole[kind.name])
    arrays = read_npz(path, "")
    for name in arrays:
        if name in ("seconds", "alpha", "stop_reason"):
            continue  # other values of these are as good
        for wrong in WRONG:
            np.savez(path, **arrays | {name: wrong})
            assert read_or_refuse(kind, path.read_bytes()) is None, (name, wrong)
        np.savez(path, **{other: arrays[other] for other in arrays if other != name})
        if kind.name == "net.npz":
            np.savez(path, **{("c" + n if n == name else n): a for n, a in arrays.items()})
            assert read_or_refuse(kind, path.read_bytes()) is None, name
            np.savez(path, **{other: arrays[other] for other in arrays if other != name})
        # a network without a bias is another network, and no damage
        assert read_or_refuse(kind, path.read_bytes()) is None or name.startswith("b_"), name


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ARCHIVES, ids=lambda kind: kind.name)
def test_nothing_in_a_file_is_executed(whole, kind, tmp_path):
    path, trap = tmp_path / kind.name, tmp_path / "executed"
    path.write_bytes(whole[kind.name])
    arrays = read_npz(path, "")
    for name in list(arrays)[:8]:
        np.savez(path, **arrays | {name: np.array([Bomb(trap)], object)})
        assert read_or_refuse(kind, path.read_bytes()) is None
    np.save(path.with_suffix(".npy"), np.array([Bomb(trap)], object))
    assert read_or_refuse(kind, path.with_suffix(".npy").read_bytes()) is None
    assert not trap.exists()
    np.load(path.with_suffix(".npy"), allow_pickle=True)
    assert trap.exists()  # the trap works


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_folder_in_place_of_a_file(kind, tmp_path):
    (tmp_path / kind.name).mkdir()
    with pytest.raises((OSError, ValueError), match=kind.name):
        kind.load(tmp_path / kind.name)
