"""Whether the two files could be draws from one pool: their comparison without the network.

A p-value of the audit holds only if data and held-out samples differ in nothing but training.
Three controls look at that, and none of them uses what training left in the weights.
1. Statistics of the rows, each beside the same ones of ``DRAWS`` random divisions of the pooled
   rows.  The largest is compared with the largest of each division, so that the level is exact.
2. Traces of a preprocessing that was fitted to the data alone, which no random division leaves.
3. Placebo weights: layer 1 with its singular values and random inputs.

Names of dimensions: n rows of data, N of both files, d inputs, B divisions.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy

from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network

Array = np.ndarray
LEVEL = 0.002  # share of honest pairs of files that a control refuses
DRAWS, MOST = 999, 1000  # divisions, and rows that are compared
NEAREST, RIDGE, NAMED = 3, 0.3, 5
LEAST_SPREAD = 0.3  # of the mean spread: a regression can fall below 0
EXACT, MOST_COLUMNS = 1e-5, 0.9  # error of a fitted number, and share of the columns that have it


class Differences(NamedTuple):
    """How the two files differ by themselves."""

    p: float  # that random divisions of the rows differ as much
    found: tuple[str, ...]  # what differs, if p is at most LEVEL
    fitted: str  # the trace of a preprocessing that was fitted to the data alone, or nothing
    auc: float  # by which the best of columns, norms and a classifier of x tells the files apart


def compare_files(x: Array, y: Array | None, n: int, seed: int) -> Differences:
    """Compare the first n of the distinct rows x (N, d) with the rest; y (N,) or (N, K) counts too.

    Of more than 1,000 rows, as many are drawn by the seed.
    """
    rng, traces = np.random.default_rng(seed), fitted_to(x[:n], x[n:])
    first = rng.choice(n, min(n, MOST // 2), replace=False)
    rest = n + rng.choice(len(x) - n, min(len(x) - n, MOST - len(first)), replace=False)
    rows, n, N = np.concatenate([first, rest]), len(first), len(first) + len(rest)
    member = np.zeros((DRAWS + 1, N), np.float32)
    member[0, :n] = 1  # the true division
    for division in member[1:]:
        division[rng.choice(N, n, replace=False)] = 1
    statistics, auc = _statistics(x[rows], None if y is None else y[rows], member)
    values = np.stack(list(statistics.values()))  # (statistics, B + 1)
    values -= values.mean(axis=1, keepdims=True)
    values /= np.maximum(values.std(axis=1, keepdims=True), 1e-6)
    largest = values.max(axis=0)  # (B + 1,)
    p = float(np.mean(largest >= largest[0] - 1e-6))
    bound = min(np.quantile(largest[1:], 1 - LEVEL), largest[0])
    named = [name for name, value in zip(statistics, values[:, 0], strict=True) if value >= bound]
    return Differences(p, tuple(named) if p <= LEVEL else (), traces, auc)


def _statistics(x: Array, y: Array | None, member: Array) -> tuple[dict[str, Array], float]:
    """Return statistics of B + 1 divisions (B + 1, N), each (B + 1,), and the best AUC."""
    N, n = len(x), int(member[0].sum())
    scores = normal_scores(x)  # (N, d), where no outlier decides
    standard = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-300)
    ends = [(x == end) / np.sum(x == end, axis=0) for end in (x.min(axis=0), x.max(axis=0))]
    seen = {  # (N, k)
        "the centres of columns": scores,
        "the spreads of columns": normal_scores(np.abs(x - np.median(x, axis=0))),
        "the norms of rows": normal_scores(np.linalg.norm(x, axis=1, keepdims=True)),
        "the norms of rows, all columns at one spread": normal_scores(
            np.linalg.norm(standard, axis=1, keepdims=True)
        ),
        "the minima and maxima of columns": np.sum(ends, axis=(0, 2))[:, None],
    }
    squares = scipy.spatial.distance.cdist(scores, scores, "sqeuclidean")  # (N, N)
    kernel = np.exp(-squares / max(np.median(squares), 1e-9))
    hat = (kernel @ np.linalg.inv(kernel + RIDGE * np.eye(N))).astype(np.float32)  # (N, N)

    def guessed(targets: Array) -> Array:
        """Guess the targets (k, N) of each row from those of all others."""
        guess: Array = (targets @ hat.T - np.diag(hat) * targets) / (1 - np.diag(hat))
        return guess

    if y is not None:
        values = np.unique(y)
        classes = y.ndim == 1 and len(values) <= 100
        labels = y[:, None] == values if classes else normal_scores(y.reshape(N, -1))  # (N, k)
        labels = labels - np.mean(labels, axis=0)
        errors = np.sum((guessed(labels.T) - labels.T) ** 2, axis=0)
        seen["the labels"], seen["how labels follow from rows"] = labels, errors[:, None]
    found, best = dict[str, Array](), 0.5

    def auc(values: Array) -> float:
        """Return the largest AUC of columns (N, k), in either direction."""
        ranks = scipy.stats.rankdata(values, axis=0)[:n].mean(axis=0)
        return 0.5 + float(np.abs((ranks - (n + 1) / 2) / (N - n) - 0.5).max())

    for name, values in seen.items():
        apart = np.abs((member / n - (1 - member) / (N - n)) @ np.float32(values))  # (B + 1, k)
        best = max(best, auc(values))
        most, where = np.argsort(-apart[0], kind="stable")[:NAMED], ""
        if name.endswith("s of columns") and values.shape[1] > 1:
            where = f" (most in {', '.join(map(str, most.tolist()))})"
            found[f"{name}, all together{where}"] = np.sum(apart**2, axis=1)
        found[name + where] = apart.max(axis=1)
    member = member - n / N
    guess = guessed(member)  # (B + 1, N)
    right = np.sum(guess * member, axis=1) / np.maximum(np.linalg.norm(guess, axis=1), 1e-12)
    found["the rows, as a classifier of x alone tells (classes, persons, times?)"] = right
    np.fill_diagonal(squares, np.inf)
    near = np.zeros((N, N), np.float32)
    np.put_along_axis(near, np.argsort(squares, axis=1)[:, :NEAREST], 1.0, axis=1)
    found["the nearest rows, which are of the same file"] = np.sum((member @ near) * member, axis=1)
    return found, max(best, auc(guess[0][:, None]))


def normal_scores(values: Array) -> Array:
    """Return ranks along the first axis as quantiles of the normal distribution, float32."""
    ranks = scipy.stats.rankdata(values, axis=0)
    scores: Array = scipy.special.ndtri(ranks / (len(values) + 1))
    return scores.astype(np.float32)


def fitted_to(x: Array, others: Array) -> str:
    """Name the trace of a preprocessing that was fitted to x (n, d) and not to others; or nothing.

    A fit leaves exact numbers in nearly every column.  That of the mean alone is not named: it
    moves all rows alike, and the statistics see what it changes.
    """
    used = np.ptp(x, axis=0) > 0
    x, others = x[:, used], others[:, used]
    if x.shape[1] < 2 or len(x) < 3 or not np.any((others > x.max(0)) | (others < x.min(0))):
        return ""

    def near(values: Array, target: float) -> bool:
        return bool(np.mean(np.abs(values - target) <= EXACT) >= MOST_COLUMNS)

    def traces(rows: Array) -> dict[str, bool]:
        away, spread = rows - rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-300)
        k, low = min(rows.shape[1], len(rows) - 1, 50), rows.min(axis=0)
        cosines = np.atleast_2d(np.corrcoef(away[:, :k], rowvar=False))[np.triu_indices(k, 1)]
        unit = near(spread, 1.0) or near(rows.std(axis=0, ddof=1), 1.0)
        return {
            "mean 0 and spread 1 in each column, as after a scaler": unit
            and near(rows.mean(axis=0) / spread, 0.0),
            "one minimum and maximum in all columns, as after a min-max scaler": near(
                rows.max(axis=0), 1.0
            )
            and (near(low, 0.0) or near(low, -1.0)),
            "columns without any correlation, as after PCA or whitening": k > 2
            and near(cosines, 0.0),
        }

    with np.errstate(invalid="ignore", divide="ignore"):
        of_others = traces(others)
        return next(
            (name for name, is_there in traces(x).items() if is_there > of_others[name]), ""
        )


def placebo_networks(net: Network, count: int, rng: np.random.Generator) -> Iterator[Network]:
    """Return networks with the singular values of layer 1, and random directions of inputs.

    Of a network that is no MLP, the numbers of each parameter array are shuffled.
    """
    if not isinstance(net, MLP):
        return (
            net.with_arrays([rng.permutation(p.ravel()).reshape(p.shape) for p in net.arrays])
            for _ in range(count)
        )
    W = net.weights[0]
    U, s, _ = np.linalg.svd(W.astype(np.float64), full_matrices=False)  # (h, r), (r,)
    axes = (np.linalg.qr(rng.normal(size=(W.shape[1], len(s))))[0] for _ in range(count))  # (d, r)
    return (net.with_arrays([((U * s) @ V.T).astype(W.dtype), *net.arrays[1:]]) for V in axes)


def without_size(scores: Array, x: Array, placebos: Array) -> Array:
    """Return the normal scores (N,) less what no training explains, in units of their spread.

    That is their regression on the sizes of the rows x (N, d) and on the scores by placebo weights
    (N,).  The spread is that of rows of such sizes: large rows have extreme losses of both signs.
    """
    size = normal_scores(np.linalg.norm(x, axis=1))
    others = np.linalg.norm(x - np.median(x, axis=0), axis=1), np.abs(x).max(axis=1), placebos
    known = np.column_stack([np.ones(len(x)), size, size**2, *map(normal_scores, others)])
    fit, values = np.linalg.pinv(known, rtol=None), normal_scores(scores)  # (6, N), (N,)
    left: Array = values - known @ (fit @ values)
    spread = np.maximum(known @ (fit @ np.abs(left)), LEAST_SPREAD * np.abs(left).mean())
    return left / np.maximum(spread, 1e-12)
