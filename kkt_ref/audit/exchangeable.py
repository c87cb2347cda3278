"""Could the two files be draws from one pool?  The comparison of them without the network.

A p-value of the audit holds only if data and held-out samples differ in nothing but training.
Three controls look at that, and none of them uses what training left in the weights.
1. Statistics of the rows, each beside the same ones of ``DRAWS`` random divisions of the pooled
   rows.  The largest is compared with the largest of each division, so that the level is exact.
2. Traces of a preprocessing that was fitted to the data alone, which no random division leaves.
3. Placebo weights: layer 1 with its singular values and random inputs.

Names of dimensions: n rows of data, N of both files, d inputs, B divisions, S statistics.
"""

from typing import NamedTuple

import numpy as np
import scipy

from kkt_ref.network.mlp import MLP

Array = np.ndarray
LEVEL = 0.002  # share of honest pairs of files that the comparison refuses
DRAWS, MOST = 999, 1000  # divisions, and rows that are compared
NEAREST, NAMED = 3, 5
EXACT, MOST_COLUMNS = 1e-5, 0.9  # of a fit that shows, and the share of columns that show it


class Differences(NamedTuple):
    """How the two files differ by themselves."""

    p: float  # that random divisions of the rows differ as much
    found: tuple[str, ...]  # what differs, if p is at most LEVEL
    fitted: str  # the preprocessing that was fitted to the data alone, or nothing


def compare_files(x: Array, y: Array | None, n: int, seed: int) -> Differences:
    """Compare the first n rows of x (N, d) with the rest; labels y (N,) or (N, K) count too.

    Parameters
    ----------
    x : array of shape (N, d)
        Distinct rows.
    y : array of shape (N,) or (N, K), optional
    n : int, 2 ≤ n ≤ N - 2
    seed : int
        Of the divisions, and of the rows if there are more than 1,000.
    """
    rng = np.random.default_rng(seed)
    fitted = fitted_to(x[:n], x[n:])
    first = np.sort(rng.choice(n, min(n, MOST // 2), replace=False))
    rest = np.sort(rng.choice(len(x) - n, min(len(x) - n, MOST - len(first)), replace=False)) + n
    rows, n = np.concatenate([first, rest]), len(first)
    x, N = x[rows], len(rows)
    member = np.zeros((DRAWS + 1, N), np.float32)  # (B + 1, N), the true division first
    member[0, :n] = 1
    for division in member[1:]:
        division[rng.choice(N, n, replace=False)] = 1
    statistics, columns = _statistics(x, member, n)
    if y is not None:
        targets = y[rows].reshape(N, -1)
        if targets.shape[1] == 1 and len(values := np.unique(targets)) <= 100:
            targets = targets == values  # (N, classes)
        statistics["the labels"] = _apart(targets, member, n).max(axis=1)
    values = np.stack(list(statistics.values()))  # (S, B + 1)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(values.std(axis=1, keepdims=True), 1e-9)
    largest = values.max(axis=0)  # (B + 1,)
    p = float(np.mean(largest >= largest[0] - 1e-6))
    bound = np.quantile(largest[1:], 1 - LEVEL)
    named = [name for name, value in zip(statistics, values[:, 0], strict=True) if value >= bound]
    most = [
        name for name, value in zip(statistics, values[:, 0], strict=True) if value == largest[0]
    ]
    found = tuple(name + columns.get(name, "") for name in named or most) if p <= LEVEL else ()
    return Differences(p, found, fitted)


def _statistics(x: Array, member: Array, n: int) -> tuple[dict[str, Array], dict[str, str]]:
    """Return statistics (B + 1,) by what they see, and the columns that differ most."""
    used = np.flatnonzero(np.ptp(x, axis=0) > 0)
    if not len(used):
        return {"the rows": np.zeros(len(member))}, {}
    x = x[:, used]
    scores, away = normal_scores(x), normal_scores(np.abs(x - np.median(x, axis=0)))  # (N, d)
    statistics, columns = dict[str, Array](), dict[str, str]()
    for name, values in (("the centres of columns", scores), ("the spreads of columns", away)):
        apart = _apart(values, member, n)  # (B + 1, d)
        worst = used[np.argsort(-apart[0], kind="stable")[:NAMED]].tolist()
        columns[name] = columns[f"{name}, all together"] = (
            f" (most in {', '.join(map(str, worst))})"
        )
        statistics[name] = apart.max(axis=1)
        statistics[f"{name}, all together"] = np.sum(apart**2, axis=1)
    ends = np.zeros(len(x))
    for end in (x.max(axis=0), x.min(axis=0)):
        ends += np.sum((x == end) / np.sum(x == end, axis=0), axis=1)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    rows = {
        "the norms of rows": normal_scores(np.linalg.norm(x, axis=1)),
        "the norms of rows, each column at its spread": normal_scores(
            np.linalg.norm(standard, axis=1)
        ),
        "the minima and maxima of columns": ends,
    }
    for name, values in rows.items():
        statistics[name] = _apart(values[:, None], member, n)[:, 0]
    squares = scipy.spatial.distance.cdist(scores, scores, "sqeuclidean")  # (N, N)
    y = member - n / len(x)  # (B + 1, N)
    kernel = np.exp(-squares / np.median(squares))
    hat = (kernel @ np.linalg.inv(kernel + 0.3 * np.eye(len(x)))).astype(np.float32)  # (N, N)
    own = np.diag(hat)
    guessed = (y @ hat.T - own * y) / (1 - own)  # each row from all others, (B + 1, N)
    statistics["the rows, as a classifier of x alone sees them (classes, persons, times?)"] = (
        np.sum(guessed * y, axis=1) / np.linalg.norm(guessed, axis=1)
    )
    np.fill_diagonal(squares, np.inf)
    near = np.argsort(squares, axis=1)[:, : min(NEAREST, len(x) - 1)]
    beside = np.zeros((len(x), len(x)), np.float32)
    np.put_along_axis(beside, near, 1.0, axis=1)
    statistics["the nearest rows, which are of the same file"] = np.sum((y @ beside) * y, axis=1)
    return statistics, columns


def normal_scores(values: Array) -> Array:
    """Return ranks along the first axis as quantiles of the normal distribution, float32."""
    ranks = scipy.stats.rankdata(values, axis=0)
    return scipy.special.ndtri(ranks / (len(values) + 1)).astype(np.float32)


def _apart(values: Array, member: Array, n: int) -> Array:
    """Return |mean of the first part − mean of the rest| of columns (N, k), (B + 1, k)."""
    rest = 1 - member
    return np.abs((member / n - rest / (len(values) - n)) @ np.float32(values))


def fitted_to(x: Array, others: Array) -> str:
    """Name the preprocessing that was fitted to x (n, d), and not to the others; or nothing.

    A fit leaves exact numbers in nearly every column.  The mean alone is not named: it moves all
    rows alike, and the statistics see what it changes.
    """
    used = np.ptp(x, axis=0) > 0
    x, others = x[:, used], others[:, used]
    if x.shape[1] < 2 or len(x) < 3:
        return ""

    def near(values: Array, target: float) -> bool:
        return bool(np.mean(np.abs(values - target) <= EXACT) >= MOST_COLUMNS)

    def scaled(rows: Array) -> bool:
        spread = rows.std(axis=0)
        centred = near(rows.mean(axis=0) / np.maximum(spread, 1e-300), 0.0)
        return centred and (near(spread, 1.0) or near(rows.std(axis=0, ddof=1), 1.0))

    def ends(rows: Array) -> bool:
        return near(rows.max(axis=0), 1.0) and (
            near(rows.min(axis=0), 0.0) or near(rows.min(axis=0), -1.0)
        )

    def diagonal(rows: Array) -> bool:
        away = rows - rows.mean(axis=0)
        norms = np.maximum(np.linalg.norm(away, axis=0), 1e-300)
        k = min(rows.shape[1], len(rows) - 1, 50)
        cosines = (away / norms)[:, :k].T @ (away / norms)[:, :k]  # (k, k)
        return k > 2 and near(cosines[np.triu_indices(k, 1)], 0.0)

    beyond = bool(np.any((others > x.max(axis=0)) | (others < x.min(axis=0))))
    for name, shows in (
        ("mean 0 and spread 1 in each column, as after a scaler", scaled),
        ("the same minimum and maximum in each column, as after a min-max scaler", ends),
        ("columns without any correlation, as after PCA or whitening", diagonal),
    ):
        if shows(x) and not shows(others) and beyond:
            return name
    return ""


def placebo(net: MLP, rng: np.random.Generator) -> MLP:
    """Return the network with the singular values of layer 1, and random directions of inputs."""
    W = net.weights[0]
    U, s, _ = np.linalg.svd(W.astype(np.float64), full_matrices=False)  # (h, r), (r,)
    axes = np.linalg.qr(rng.normal(size=(W.shape[1], len(s))))[0]  # (d, r)
    return net.with_arrays([((U * s) @ axes.T).astype(W.dtype), *net.arrays[1:]])


def by_itself(x: Array, placebos: Array) -> Array:
    """Return what may move a score without any training, (N, 5): sizes of rows, and placebos."""
    size = normal_scores(np.linalg.norm(x, axis=1))
    others = np.linalg.norm(x - np.median(x, axis=0), axis=1), np.abs(x).max(axis=1)
    return np.column_stack([size, size**2, *map(normal_scores, others), placebos])


def without(scores: Array, known: Array) -> Array:
    """Return the normal scores of ``scores`` (N,) less their regression on ``known`` (N, k)."""
    values, known = normal_scores(scores), np.column_stack([np.ones(len(known)), known])
    return values - known @ np.linalg.lstsq(known, values)[0]
