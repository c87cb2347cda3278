"""Every public function against a table of bad values, argument by argument.

A call is refused by our own code in words that name an argument, or it succeeds: without
a warning, with finite results, and with the same results for the same values.
"""

import contextlib
import dataclasses
import pickle
import re
import sys
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import kkt_ref
from kkt_ref.datasets import embedded_images, toys
from tests.public import GOOD, NET, At, X, Y, filled, function_of, public_names, rng

PACKAGE = Path(kkt_ref.__file__).parent
NUMBERS = [None, "3", "", np.nan, np.inf, -np.inf, 1e300, -1e300, -1, -0.5, 0, 1.5, [], [1.0]]
# an argument that messages know by its parts
PARTS = {"weights": "W_", "biases": "b_", "activation": "W_", "name": "loss"}


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
        "a column less": a[..., :-1],
        "NaN": with_first(np.nan),
        "inf": with_first(-np.inf),
        "huge": with_first(1e100),
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
        spoiled["-inf"] = value.with_theta(np.append(-np.inf, value.theta[1:]))
        halves = {"float16": value.astype(np.float16), "float32": value.astype(np.float32)}
        return {"None": None, "text": "net", "arrays": value.weights} | spoiled | halves
    if isinstance(value, np.ndarray):
        labels = {f"labels {c}": np.resize(c, np.shape(value)) for c in ((0, 1), (1, 2), (2,))}
        return spoiled_arrays(value) | (labels if name == "y" else {})
    if isinstance(value, (bool, type(None))):
        return {}
    if isinstance(value, (int, float)):
        return {repr(v): v for v in NUMBERS}
    if isinstance(value, At):
        wrong = (None, 3, 1.5, b"\xff", [3], "missing/file", "net.npz/file", "", ".")
        return {repr(v): v for v in wrong}
    if isinstance(value, str):
        return {repr(v): v for v in (None, "nonsense", 3, ["a"])}
    if isinstance(value, tuple) and all(isinstance(v, (int, float, str)) for v in value):
        others = [None, (), "ab", 3, [value], (*value, value[-1]), value[:-1], (None,) * len(value)]
        others += [(c,) * len(value) for c in (np.nan, np.inf, 1e300, -1.0, 0, 1.5, "a")]
        return {repr(v): v for v in others}
    others = {"None": None, "text": "text", "number": 3, "empty": (), "list": [1, 2]}
    return others | {"dict": {"a": 1}, "arrays": (np.ones((2, 2)),), "type": int}


def same_values(value):
    """The same values as others hold them: a list, read-only, with gaps, in Fortran's order."""
    if isinstance(value, tuple) and all(isinstance(v, (int, float)) for v in value):
        return {"list": list(value)}
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
        names = {f.name for f in dataclasses.fields(result)} - {"seed"}  # which was given
        result = {name: getattr(result, name) for name in sorted(names)}
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
    names = [str(v) for v in GOOD[public].values() if isinstance(v, str)] + ["missing/file", "."]
    if not colon or not (known & set(words) or any(name in about for name in names)):
        return f"names no argument: {error!r}"
    return None


def test_nothing_public_is_left_out():
    assert public_names() == set(GOOD)


# arguments of good calls that change none of the numbers: limits that are not reached, and others
NO_EFFECT = {
    *("workers", "Equation x", "Equation y", "match_points tolerance", "match_points multipliers"),
    *("optimum tolerance", "projection", "check_gradients x", "tpr_at others", "tpr_at fpr"),
}


def another(argument, value):
    """Another good value of an argument, or None."""
    if isinstance(value, np.ndarray):
        return value[::-1] if argument in ("y", "labels") else 1.1 * value
    if isinstance(value, tuple) and all(isinstance(v, (int, float)) for v in value):
        return (2 * value[0], *value[1:])
    if type(value) in (int, float):
        return 2 * value + 0.01 * isinstance(value, float) or 1
    return None


@pytest.mark.parametrize("public", GOOD)
def test_good_calls_are_good_and_each_argument_has_an_effect(public, folder):
    numbers = numbers_in(call(public, folder))
    assert all(np.all(np.isfinite(part)) for part in numbers)
    for argument, value in GOOD[public].items():
        other = another(argument, value)
        known = any(f"{public} {argument}".endswith(case) for case in NO_EFFECT)
        if other is None or public.startswith("conformance") or known:
            continue
        with contextlib.suppress(ValueError):  # a few arguments must fit to others
            changed = numbers_in(call(public, folder, **{argument: other}))
            same = len(changed) == len(numbers) and all(map(np.array_equal, numbers, changed))
            assert not same, argument


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
    single = getattr(GOOD[public][argument], "dtype", None) == np.float32
    tolerance = 1e-5 if single else 1e-10
    for kind, value in same_values(GOOD[public][argument]).items():
        again = numbers_in(call(public, folder, **{argument: value}))
        for one, other in zip(clean, again, strict=True):
            np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance, err_msg=kind)


def mlp(second=(1, 3), bias=3, dtype=np.float64):
    return kkt_ref.MLP((np.ones((3, 2)), np.ones(second)), (np.ones(bias, dtype), None))


def wrong(public, **changed):
    """A good call with something wrong in it."""
    return lambda: function_of(public)(**GOOD[public] | changed)


PICTURES = GOOD["metrics.structural_similarity"]["x"]  # (3, 1, 12, 12)
TWO_OUTPUTS = kkt_ref.MLP((np.eye(2, 3),), (None,))
CLASSES = dict(net=kkt_ref.init_uniform((3, 4, 3), rng()), y=np.arange(6) % 3)
PLANE = kkt_ref.init_uniform((2, 12, 1), rng())
LINE = kkt_ref.MLP((np.ones((1, 3)),), (None,))
LINEAR = np.ones((4, 3), np.float32)
loss = partial(wrong, "stationarity_loss")
train = partial(wrong, "training.loss_scaled_descent")
decay = partial(wrong, "training.weight_decay_optimum")
paper = partial(wrong, "attacks.reconstruct_paper")
plane = partial(wrong, "attacks.reconstruct_plane")
choose = partial(wrong, "attacks.reconstruct", m=None, restarts=None, workers=None)
ssim = partial(wrong, "metrics.structural_similarity")
split = partial(wrong, "datasets.binary_split", data=embedded_images("cifar10"), unseen=0, test=0)


def photos(shape):
    return wrong("attacks.reconstruct_components", image_shape=shape)


def state(**changed):
    return wrong("from_state_dict", state={k.replace("_", "."): v for k, v in changed.items()})


MESSAGES = {
    "x: expected shape (n, 3), got (3,); a single sample": loss(x=X[0]),
    "x: expected values up to 1e+77, whose products": loss(x=1e80 * X),
    "x: expected dtype float64": loss(x=X.astype(np.float32)),
    "y: expected labels -1 and +1, got [0.0, 1.0]": loss(y=(Y + 1) / 2),
    "y: expected classes 0 ... 2": loss(**CLASSES | dict(y=np.full(6, 3))),
    "layer_weights: expected 2": loss(layer_weights=(1.0,)),
    "layer_weights: expected numbers >= 0, and not all 0": loss(layer_weights=(0.0, 0.0)),
    "coefficients: expected shape (n, 2)": wrong("per_sample_gradients", net=TWO_OUTPUTS),
    "net: no positive margin": wrong("kkt_report", y=-Y, margin=None),
    "net: expected one output for labels -1 and +1": wrong(
        "kkt.weight_decay_stationarity", net=CLASSES["net"]
    ),
    "y: expected a sample of each class": train(**CLASSES | dict(y=np.zeros(6, int))),
    "labels differ": train(x=X * 0),
    "step: the loss is not finite": wrong("training.gradient_descent", x=1e60 * X, y=-Y, step=1e70),
    "y: expected real targets of shape (6, 3)": decay(net=CLASSES["net"], loss="mse"),
    "net: the gated activation": decay(net=NET.with_activation(kkt_ref.GatedReLU(5.0))),
    "net: expected float64": decay(net=NET.astype(np.float32), x=X.astype(np.float32)),
    "theta: expected shape": lambda: NET.with_theta(np.ones(3)),
    "W_2: expected shape": lambda: mlp(second=(1, 2)),
    "b_1: expected shape": lambda: mlp(bias=2),
    "b_1: expected dtype float64": lambda: mlp(dtype=np.float32),
    "alpha: expected a finite number > 0, got 0": lambda: kkt_ref.Softplus(0),
    "alpha: expected a finite number > 0, got 0.0": wrong("network.Elementwise", alpha=0.0),
    "alpha: expected a sharpness > 0": lambda: kkt_ref.network.activation_by_name("gated"),
    "of a Linear, got (8, 3, 3, 3) (Conv2d)": state(conv_weight=np.ones((8, 3, 3, 3))),
    "of a Linear, got (4,) (a normalisation": state(a_weight=LINEAR, b_weight=np.ones(4)),
    "expected '<layer>.weight'": state(a_weight=LINEAR, b_mean=np.ones(4)),
    "a transposed matrix needs .T": state(a_weight=LINEAR, b_weight=LINEAR[:, :1]),
    "'a.weight' is missing": state(a_bias=np.ones(4)),
    "net: expected two inputs, got 3": wrong("attacks.kink_vertices", net=NET),
    "net: expected two inputs, and ReLU": plane(net=PLANE.with_activation(kkt_ref.Softplus(20.0))),
    "no margin found": plane(net=PLANE),
    "box: expected (low, high) with low < high": plane(box=(1.0, 1.0)),
    "over 8 GB; use attacks.reconstruct_paper": plane(
        net=kkt_ref.init_paper((2, 1000, 1000, 1), rng()), step=None
    ),
    "m: expected None, got 7; the attack in": choose(net=PLANE, m=7),
    "restarts: expected None, got 2; the attack in": choose(net=PLANE, restarts=2),
    "workers: expected None, got 1; the attack in": choose(net=PLANE, workers=1),
    "box: expected None, got (-1.0, 1.0)": lambda: kkt_ref.reconstruct(NET, box=(-1.0, 1.0)),
    "image_shape: expected images of at least 3 x 3 pixels and 36 numbers": photos((1, 6, 5)),
    "image_shape: expected images of at least 3 x 3 pixels": photos((36, 1, 1)),
    "workers: expected an integer >= 1, got True": wrong("attacks.reconstruct", workers=True),
    "net: expected at least two layers": wrong("attacks.first_layer.FirstLayer", net=LINE),
    "x: expected 2 to 10000 samples": wrong("attacks.membership_scores", x=X[:1]),
    "backend: expected 'numpy', 'cupy' or": paper(backend="tensorflow"),
    "needs the extra cuda (pip install": paper(backend="cupy"),
    "n: expected an even number": lambda: toys.spiral(5),
    "n: expected a multiple of 2, as many of each class, got 3": split(n=3),
    "n: expected a multiple of 10": wrong("datasets.ten_class_split", n=15),
    "unseen: expected a multiple of 2": split(n=2, unseen=1),
    "at most 20 images for n = 22 ": split(n=22),
    "at most 4 images for unseen = 6 ": split(n=16, unseen=6),
    "at most 0 images for test = 2 from embedded cifar10.npz": split(n=2, test=2),
    "with images of at least 3 x 3 pixels": ssim(y=PICTURES[..., :2]),
    "data_range: expected the range of the pixels, got 1.0, but y": ssim(y=2e4 * PICTURES),
    "size: expected an odd integer": wrong("metrics.SSIMSettings", size=4),
    "unseen: expected as many images as in images, 5": wrong(
        "metrics.score_candidates", unseen=np.ones((3, 16))
    ),
}


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_say_what_was_expected(message, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # None: an import of it fails
    with pytest.raises((ValueError, TypeError, RuntimeError), match=re.escape(message)):
        MESSAGES[message]()
