"""Every public function against a table of bad values, argument by argument.

A call is refused by our own code in words that name an argument, or it succeeds: without
a warning, with finite results, and with the same results for the same values.
"""

import dataclasses
import pickle
import re
import shutil
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref.datasets import embedded_images, toys
from tests.public import GOOD, LAM, NET, At, X, Y, filled, function_of, prepare, public_names, rng

PACKAGE = Path(kkt_ref.__file__).parent
NUMBERS = [None, "3", "", np.nan, np.inf, -np.inf, 1e300, -1e300, -1, -0.5, 0, 1.5, [], [1.0]]
# an argument that messages know by its parts
PARTS = {"weights": "W_", "biases": "b_", "kernels": "W_", "activation": "W_", "name": "loss"}


def spoiled_arrays(a):
    """Bad versions of an array, by name."""
    a = np.asarray(a)

    def with_first(value):
        changed = a.astype(float)
        changed.flat[0] = value
        return changed

    return {
        "another axis": a[None],
        "one axis less": a[0],
        "no rows": a[:0],
        "a row less": a[:-1],
        "no columns": a[..., :0],
        "NaN": with_first(np.nan),
        "inf": with_first(-np.inf),
        "huge": with_first(1e300),
        "all huge": np.full(a.shape, -1e300),
        "zeros": np.zeros(a.shape),
        "float16": a.astype(np.float16),
        "integers": a.astype(int),
        "complex": a.astype(complex),
        "strings": a.astype(str),
        "objects": np.full(a.shape, None),
        "ragged": [[1.0], [1.0, 2.0]],
        "text": "text",
        "None": None,
        "scalar": 1.0,
    }


def bad_values(name, value):
    """Bad values for an argument, by name."""
    if isinstance(value, kkt_ref.MLP):
        spoiled = {c: value.scaled(c) for c in (np.nan, np.inf, 1e300, 0.0)}
        halves = {"float16": value.astype(np.float16), "float32": value.astype(np.float32)}
        return {"None": None, "text": "net", "arrays": value.weights} | spoiled | halves
    if isinstance(value, np.ndarray) or name == "restart":
        labels = {f"labels {c}": np.resize(c, np.shape(value)) for c in ((0, 1), (1, 2), (2,))}
        return spoiled_arrays(value) | (labels if name == "y" else {})
    if isinstance(value, (bool, type(None))):
        return {}
    if isinstance(value, (int, float)):
        return {repr(v): v for v in NUMBERS}
    if isinstance(value, At) or name == "paths":
        return {repr(v): v for v in (None, 3, 1.5, b"\xff", [3], "missing/file", "")}
    if isinstance(value, str):
        return {repr(v): v for v in (None, "nonsense", 3, ["a"])}
    if isinstance(value, tuple) and all(isinstance(v, (int, float, str)) for v in value):
        others = [None, (), "ab", 3, (*value, value[-1]), value[:-1], (None,) * len(value)]
        others += [(c,) * len(value) for c in (np.nan, np.inf, 1e300, -1.0, 0, 1.5, "a")]
        return {repr(v): v for v in others}
    others = {"None": None, "text": "text", "number": 3, "empty": (), "list": [1, 2]}
    return others | {"dict": {"a": 1}, "arrays": (np.ones((2, 2)),), "type": int}


def same_values(value):
    """The same array as others hold it: a list, read-only, with gaps, in Fortran's order."""
    if not isinstance(value, np.ndarray):
        return {}
    gaps = np.repeat(value, 2, axis=-1)[..., ::2]
    locked = value.copy()
    locked.flags.writeable = False
    turned = {"backwards": value[::-1].copy()[::-1], "Fortran": np.asfortranarray(value)}
    return {"list": value.tolist(), "read-only": locked, "gaps": gaps} | turned


def numbers_in(result):
    """All numbers in a result, as a flat list of arrays."""
    if isinstance(result, (bool, int, float, np.number, np.ndarray)):
        array = np.asarray(result)
        return [array.astype(float)] if array.dtype.kind in "iufb" else []
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        result = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    elif hasattr(result, "_asdict"):
        undefined = {"seconds", "by_layer", "error"}  # the clock, and what may be NaN
        result = {k: v for k, v in result._asdict().items() if k not in undefined}
    parts = result.values() if isinstance(result, dict) else result
    if isinstance(result, (dict, list, tuple)):
        return [number for part in parts for number in numbers_in(part)]
    return []


def call(public, where, /, **changed):
    """Call a public function; no argument may be changed."""
    arguments = {k: filled(v, where) for k, v in (GOOD[public] | changed).items()}
    kept = {k: v for k, v in arguments.items() if not (GOOD[public][k] is rng or "impl" in k)}
    before = pickle.dumps(kept)
    try:
        return function_of(public)(**arguments)
    finally:
        assert pickle.dumps(kept) == before, "an argument was changed in place"


def not_named(error, public, argument):
    """Why a refusal is not good: it names no argument, or not kkt_ref said it; or None."""
    if isinstance(error, OSError) and error.filename is not None:
        return None  # Python's own words, with the path
    innermost = traceback.extract_tb(error.__traceback__)[-1]
    if PACKAGE not in Path(innermost.filename).parents:
        return f"{innermost.filename} line {innermost.lineno} said {error!r}"
    about, colon, _ = str(error).partition(": ")
    known = set(GOOD[public]) | {PARTS.get(argument, argument)}
    words = re.findall(r"[A-Za-z]+_(?=\d)|\w+", about)
    names = [str(v) for v in GOOD[public].values() if isinstance(v, str)] + ["missing/file"]
    if not colon or not (known & set(words) or any(name in about for name in names)):
        return f"names no argument: {error!r}"
    return None


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    made = tmp_path_factory.mktemp("files")
    prepare(made)
    return made


@pytest.fixture
def folder(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_nothing_public_is_left_out():
    assert public_names() == set(GOOD)


@pytest.mark.parametrize("public", GOOD)
def test_good_calls_are_good(public, folder):
    assert all(np.all(np.isfinite(part)) for part in numbers_in(call(public, folder)))


def answer(public, argument, value, folder):
    """Why the answer to a bad value is not good, or None."""
    try:
        result = call(public, folder, **{argument: value})
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        return not_named(error, public, argument)
    except Exception as error:  # a warning, or an error of another kind
        return repr(error)
    finite = all(np.all(np.isfinite(part)) for part in numbers_in(result))
    return None if finite else "the result is not finite"


CASES = [(public, argument) for public in GOOD for argument in GOOD[public]]
ARRAYS = [case for case in CASES if same_values(GOOD[case[0]][case[1]])]


@pytest.mark.parametrize(("public", "argument"), CASES)
def test_bad_values(public, argument, folder):
    bad = bad_values(argument, GOOD[public][argument])
    wrong = {kind: answer(public, argument, value, folder) for kind, value in bad.items()}
    wrong = [f"{kind}: {reason}" for kind, reason in wrong.items() if reason]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(("public", "argument"), ARRAYS)
def test_same_values_same_result(public, argument, folder):
    clean = numbers_in(call(public, folder))
    # a list has no float32, so that single precision is rounded elsewhere
    tolerance = 1e-5 if GOOD[public][argument].dtype == np.float32 else 1e-10
    for kind, value in same_values(GOOD[public][argument]).items():
        again = numbers_in(call(public, folder, **{argument: value}))
        for one, other in zip(clean, again, strict=True):
            np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance, err_msg=kind)


def loss(x=X, y=Y, multipliers=LAM, layer_weights=None, net=NET):
    return kkt_ref.stationarity_loss(net, x, y, multipliers, layer_weights)


def mlp(second=(1, 3), bias=np.float64):
    return kkt_ref.MLP((np.ones((3, 2)), np.ones(second)), (np.ones(3, bias), None))


def wrong(public, **changed):
    """A good call with something wrong in it."""
    return lambda: function_of(public)(**GOOD[public] | changed)


PICTURES = GOOD["metrics.structural_similarity"]["x"]  # (3, 1, 12, 12)
ssim = partial(wrong, "metrics.structural_similarity")
scores = partial(wrong, "metrics.score_candidates")
split = partial(wrong, "datasets.binary_split", data=embedded_images("cifar10"), unseen=0, test=0)


MESSAGES = {
    "x: expected shape (n, 3), got (3,); a single sample": lambda: loss(x=X[0]),
    "x: expected at least one row": lambda: loss(x=X[:0]),
    "x: expected finite values": lambda: loss(x=X * np.nan),
    "x: expected dtype float64": lambda: loss(x=X.astype(np.float32)),
    "x: expected a floating array": lambda: loss(x=X.astype(int)),
    "y: expected labels -1 and +1, got [0.0, 1.0]": lambda: loss(y=(Y + 1) / 2),
    "multipliers: expected shape (6,)": lambda: loss(multipliers=LAM[:3]),
    "layer_weights: expected 2": lambda: loss(layer_weights=(1.0,)),
    "net: a parameter is NaN": lambda: loss(net=NET.scaled(np.nan)),
    "net: expected a kkt_ref.": lambda: loss(net="net"),
    "labels differ": lambda: kkt_ref.loss_scaled_descent(NET, X * 0, Y),
    "step: expected a finite number > 0": lambda: kkt_ref.gradient_descent(NET, X, Y, step=-0.1),
    "theta: expected shape": lambda: NET.with_theta(np.ones(3)),
    "W_2: expected shape": lambda: mlp(second=(1, 2)),
    "b_1: expected dtype float64": lambda: mlp(bias=np.float32),
    "alpha: expected a sharpness > 0": lambda: kkt_ref.network.activation_by_name("gated"),
    "n: expected an even number": lambda: toys.spiral(5),
    "n: expected a multiple of 2, as many of each class, got 3": split(n=3),
    "n: expected a multiple of 10": wrong("datasets.ten_class_split", n=15),
    "unseen: expected a multiple of 2": split(n=2, unseen=1),
    "at most 20 images for n = 22 ": split(n=22),
    "at most 4 images for unseen = 6 ": split(n=16, unseen=6),
    "at most 0 images for test = 2 from embedded cifar10.npz": split(n=2, test=2),
    "workers: expected an integer >= 1, got 0": wrong("attacks.reconstruct", workers=0),
    "workers: expected an integer >= 1, got True": wrong("attacks.reconstruct", workers=True),
    "workers: expected a number of proc": wrong("attacks.reconstruct", workers="all"),
    "y: expected shape (n, 16)": wrong("metrics.ncc_all_pairs", y=X),
    "y: expected a floating array": wrong("metrics.ncc_all_pairs", y=X.astype(int)),
    "x: expected axes (..., H, W)": ssim(x=X[0], channel_axis=None),
    "got shape (6, 3)": ssim(x=X),
    "with images of at least 3 x 3 pixels": ssim(y=PICTURES[..., :2]),
    "x, y: expected equal shapes, got (3, 1, 12, 12) and (2, 1, 12, 12)": ssim(y=PICTURES[:2]),
    "channel_axis: expected an axis of x, shape (3, 1, 12, 12), got 4": ssim(channel_axis=4),
    "y: expected numbers": ssim(y=PICTURES.astype(str)),
    "data_range: expected the range of the pixels, got 1.0, but y": ssim(y=2e4 * PICTURES),
    "window: expected 'gaussian' or 'uniform'": wrong("metrics.SSIMSettings", window="box"),
    "border: expected 'crop' or 'reflect'": wrong("metrics.SSIMSettings", border="zero"),
    "size: expected an odd integer": wrong("metrics.SSIMSettings", size=4),
    "unseen: expected as many images as in images, 5": scores(unseen=np.ones((3, 16))),
    "mean: expected shape": scores(mean=np.ones(15)),
    "shape: expected (channels, height, width)": scores(shape=(1, 16)),
    "members: expected floating scores": wrong("metrics.roc", members=np.arange(6)),
    "members: expected at least two scores (n,), not NaN": wrong(
        "metrics.roc", members=LAM * np.nan
    ),
    "others: expected at least two scores": wrong("metrics.roc", others=LAM[:1]),
    "others: expected at least two scores (n,), not NaN, got (6, 1)": wrong(
        "metrics.roc", others=LAM[:, None]
    ),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_say_what_was_expected(message):
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        MESSAGES[message]()
