"""The rate at which the audit says "shown" about weights that hold nothing of the data.

    python -m tests.audit_nulls [SPLITS [OUT.json [FIRST_SEED]]]

Each kind of null draws data and held-out samples, and a network that is untrained or was trained on
other samples of the source.  Honest kinds differ in nothing else.  In the other kinds the two
files differ by themselves.  The script writes what it has after each kind.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import kkt_ref
from kkt_ref.audit import audit, judge
from kkt_ref.audit.verdict import overall
from kkt_ref.datasets import ImageSet, default_images, embedded_images

Array = np.ndarray
Rows = tuple[Array, Array]  # x (n, d) and y (n,)


class Case(NamedTuple):
    """What an auditor is given, and the samples that the network was trained on."""

    data: Rows
    held_out: Rows
    others: Rows


def labels(score: Array, rng: np.random.Generator) -> Array:
    """Two classes of equal size by a noisy score."""
    noisy = score + 0.3 * score.std() * rng.normal(size=len(score))
    return np.where(noisy > np.median(noisy), 1.0, -1.0)


def table(draw: Callable[[np.random.Generator, tuple[int, int]], Array], d: int) -> Callable:
    """A source of rows with independent entries, labelled by a random direction."""

    def source(rng: np.random.Generator, count: int) -> Rows:
        x = draw(rng, (count, d)).astype(float)
        return x, labels(x @ rng.normal(size=d), rng)

    return source


def correlated(rng: np.random.Generator, count: int) -> Rows:
    x = rng.normal(size=(count, 25)) @ rng.normal(size=(25, 25)) / 5
    return x, labels(x @ rng.normal(size=25), rng)


def clusters(rng: np.random.Generator, count: int, d: int = 4, groups: int = 4) -> Rows:
    group = rng.integers(0, groups, count)
    x = 3 * rng.normal(size=(groups, d))[group] + rng.normal(size=(count, d))
    return x, np.where(group % 2, 1.0, -1.0)


def pictures(images: ImageSet, grey: float, rng: np.random.Generator, count: int) -> Rows:
    rows = rng.choice(len(images.images), count, replace=False)
    x = images.images[rows].reshape(count, -1) / 255.0 - grey
    return x, images.labels[rows].astype(int)


def digits(rng: np.random.Generator, count: int, classes: int = 2) -> Rows:
    x, y = pictures(embedded_images("mnist"), 0.1, rng, count)
    return x, y if classes == 10 else np.where(y % 2, 1.0, -1.0)


def cifar(rng: np.random.Generator, count: int) -> Rows:
    x, y = pictures(default_images("cifar10"), 0.47, rng, count)
    return x, np.where(np.isin(y, (0, 1, 8, 9)), 1.0, -1.0)


def split(source: Callable, n: int = 40, m: int = 80) -> Callable[[np.random.Generator], Case]:
    """Data, held-out samples and others from one pool."""

    def make(rng: np.random.Generator) -> Case:
        x, y = source(rng, 2 * n + m)
        parts = [(x[rows], y[rows]) for rows in np.split(np.arange(len(x)), [n, n + m])]
        return Case(*parts)

    return make


def mapped(case: Case, change: Callable[[Array], Array]) -> Case:
    return Case(*((change(x), y) for x, y in case))


def scaled(case: Case, fitted: Array, kind: str = "standard") -> Case:
    """A preprocessing fitted to some rows and applied to all."""
    centre = fitted.min(axis=0) if kind == "min-max" else fitted.mean(axis=0)
    spreads = {
        "standard": fitted.std(axis=0),
        "min-max": np.ptp(fitted, axis=0),
        "mean": 0 * centre,
    }
    spread = np.where(spreads[kind] > 0, spreads[kind], 1.0)
    return mapped(case, lambda x: (x - centre) / spread)


def by(fit: Callable[[Case], Array], source: Callable, kind: str, n: int = 40, m: int = 80) -> Any:
    """A preprocessing fitted to the rows that ``fit`` takes."""

    def make(rng: np.random.Generator) -> Case:
        case = split(source, n, m)(rng)
        return scaled(case, fit(case), kind)

    return make


def by_pca(source: Callable, whiten: bool, n: int = 50) -> Callable:
    def make(rng: np.random.Generator) -> Case:
        case = split(source, n)(rng)
        centre = case.data[0].mean(axis=0)
        _, s, Vt = np.linalg.svd(case.data[0] - centre, full_matrices=False)
        axes = Vt[:20] / (s[:20, None] / np.sqrt(n - 1) if whiten else 1.0)
        return mapped(case, lambda x: (x - centre) @ axes.T)

    return make


def other_classes(rng: np.random.Generator) -> Case:
    x, y = digits(rng, 600, 10)
    first, rest = np.flatnonzero(y < 5), np.flatnonzero(y >= 5)
    sign = np.where(y % 2, 1.0, -1.0)
    return Case(*((x[rows], sign[rows]) for rows in (first[:40], rest[:80], first[40:80])))


def windows(rng: np.random.Generator) -> Case:
    """Windows of one slow series; the held-out ones come later."""
    series = np.zeros(8 * 170)
    for t in range(1, len(series)):
        series[t] = 0.97 * series[t - 1] + rng.normal()
    x = np.lib.stride_tricks.sliding_window_view(series, 20)[::8][:160]
    y = labels(x[:, -1] - x[:, 0], rng)
    return Case((x[40:80], y[40:80]), (x[80:160], y[80:160]), (x[:40], y[:40]))


def persons(rng: np.random.Generator) -> Case:
    """Rows of 16 persons; data, held-out samples and others have persons of their own."""
    person = np.repeat(np.arange(16), 10)
    x = (rng.normal(size=(16, 30))[person] + rng.normal(size=(160, 30))) / np.sqrt(2)
    y = labels(x @ rng.normal(size=30), rng)
    return Case((x[:40], y[:40]), (x[40:120], y[40:120]), (x[120:], y[120:]))


def augmented(rng: np.random.Generator) -> Case:
    case = split(digits)(rng)
    x, y = case.data
    moves = rng.integers(-2, 3, size=(len(x), 2))
    images = zip(x.reshape(-1, 28, 28), moves, strict=True)
    shifted = [np.roll(image, move, (0, 1)).ravel() for image, move in images]
    return case._replace(data=(np.array(shifted), y))


def held_out_changed(source: Callable, change: Callable[[Array], Array]) -> Callable:
    def make(rng: np.random.Generator) -> Case:
        case = split(source)(rng)
        return case._replace(held_out=(change(case.held_out[0]), case.held_out[1]))

    return make


def sorted_by_class(rng: np.random.Generator) -> Case:
    case = split(clusters)(rng)
    order = np.lexsort(case.held_out[0].T)
    return case._replace(held_out=tuple(part[order] for part in case.held_out))


def doubled(rng: np.random.Generator) -> Case:
    case = split(correlated, 20, 40)(rng)
    return Case(*((np.repeat(x, 2, axis=0), np.repeat(y, 2)) for x, y in case))


def rare_class(rng: np.random.Generator, count: int) -> Rows:
    x, _ = correlated(rng, count)
    return x, np.where(np.arange(count) % 20 == 0, 1.0, -1.0)


def constant_columns(rng: np.random.Generator, count: int) -> Rows:
    x, y = correlated(rng, count)
    x[:, :5] = [0.0, 1.0, 7.0, 1e6, -2.0]
    return x, y


normal = table(lambda rng, size: rng.normal(size=size), 30)
heavy = table(lambda rng, size: rng.standard_t(1.5, size=size), 20)
counts = table(lambda rng, size: rng.poisson(1.5, size=size), 30)
binary = table(lambda rng, size: rng.random(size) < 0.3, 40)
sparse = table(lambda rng, size: rng.exponential(size=size) * (rng.random(size) < 0.2), 60)
skew = table(lambda rng, size: rng.lognormal(size=size), 15)
wide = table(lambda rng, size: rng.normal(size=size), 400)
narrow = table(lambda rng, size: rng.normal(size=size), 3)
unit = table(
    lambda rng, size: (v := rng.normal(size=size)) / np.linalg.norm(v, axis=1)[:, None], 30
)
by_data = partial(by, lambda case: case.data[0])
third = by(lambda case: case.others[0], correlated, "standard")
both = by(lambda case: np.concatenate([case.data[0], case.held_out[0]]), correlated, "standard")
ten = partial(digits, classes=10)

# its network is not trained on others
UNTRAINED = {
    *("digits, untrained", "other classes, untrained", "normal, untrained"),
    *("PCA of 50 rows", "whitening of 50 rows", "held-out of two rows", "held-out of zeros"),
    "sorted by class",
}
HONEST: dict[str, Callable[[np.random.Generator], Case]] = {
    "normal, untrained": split(normal),
    "normal": split(normal),
    "heavy tails": split(heavy),
    "log-normal": split(skew),
    "sparse": split(sparse),
    "binary": split(binary),
    "counts": split(counts),
    "correlated table": split(correlated),
    "constant columns": split(constant_columns),
    "clusters of 4 columns": split(clusters),
    "19 to 1 classes": split(rare_class),
    "every row twice": doubled,
    "digits, untrained": split(digits),
    "digits": split(digits),
    "ten classes of digits": split(ten, 100, 200),
    "CIFAR": split(cifar),
    "wide": split(wide, 30, 60),
    "narrow": split(narrow),
    "deep": split(correlated),
    "n = 8": split(correlated, 8, 30),
    "n = 300": split(correlated, 300, 300),
    "unit rows": split(unit),
    "scaler of third samples": by(lambda case: case.others[0], correlated, "standard"),
    "scaler of both files": both,
    "sorted by class": sorted_by_class,
}
DISHONEST: dict[str, Callable[[np.random.Generator], Case]] = {
    "scaler of 30 rows, digits": by_data(digits, "standard", 30),
    "scaler of 30 rows, wide": by_data(wide, "standard", 30),
    "scaler of 30 rows, normal": by_data(normal, "standard", 30),
    "scaler of 100 rows": by_data(digits, "standard", 100, 200),
    "scaler of 300 rows": by_data(digits, "standard", 300, 300),
    "scaler of half of the data": by(lambda case: case.data[0][:20], digits, "standard"),
    "scaler of the data and more": by(
        lambda case: np.concatenate([case.data[0], case.others[0]]), digits, "standard"
    ),
    "mean of the data": by_data(digits, "mean"),
    "min-max of the data": by_data(normal, "min-max"),
    "PCA of 50 rows": by_pca(digits, False),
    "whitening of 50 rows": by_pca(digits, True),
    "other classes, untrained": other_classes,
    "other classes": other_classes,
    "later windows": windows,
    "other persons": persons,
    "augmented against plain": augmented,
    "centred otherwise": held_out_changed(digits, lambda x: x - 0.03),
    "other constants": held_out_changed(digits, lambda x: (x + 0.1) / 0.3),
    "held-out of two rows": held_out_changed(digits, lambda x: x[np.arange(len(x)) % 2]),
    "held-out of zeros": held_out_changed(digits, lambda x: 0 * x),
}


def run(name: str, splits: int, first: int) -> dict[str, int]:
    """Count the verdicts of one kind."""
    found: dict[str, int] = {}
    for seed in range(first, first + splits):
        rng = np.random.default_rng([seed, len(name)])
        case = (HONEST | DISHONEST)[name](rng)
        x, y = case.others
        widths, K = (40, 40, 40) if name == "deep" else (60,), 10 if y.dtype.kind == "i" else 1
        net = kkt_ref.init_uniform((x.shape[1], *widths, K), rng, bias="all")
        if name not in UNTRAINED:
            net = kkt_ref.loss_scaled_descent(net, x, y, rate=6.0, max_steps=150).net
        measured = audit(net, case.data, case.held_out, candidates=8, restarts=2, conditions=False)
        degree = overall(judge(measured))
        found[degree] = found.get(degree, 0) + 1
    return found


def main(splits: str = "40", out: str = "audit_nulls.json", first: str = "0") -> None:
    results = {}
    for name in HONEST | DISHONEST:
        results[name] = run(name, int(splits), int(first))
        print(f"{name:30}", results[name], flush=True)
        Path(out).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
