r"""Multipliers for fixed samples: a convex problem.

    min_{λ ≥ 0}  Σ_l w_l ‖θ − Σ_a λ_a g_a‖²_l,      g_a = Σ_c D_ac ∇θΦ_c(x_i),

over the directions a of all samples (for two classes g_i = y_i ∇θΦ(x_i)) is a non-negative least
squares problem, which SciPy's NNLS solves: on the matrix of the rows g_a if it fits into memory,
otherwise on its Gram matrix (:mod:`kkt_ref.kkt.gram`).  In regression λ is of any sign.

Names of dimensions: n samples, J directions of a sample, P parameters, k = n J rows.
"""

import numpy as np
import scipy

Array = np.ndarray


def solve_nnls(
    matrix: Array, target: Array, *, batch: int = 100, guess: Array | None = None
) -> Array:
    """Solve min_{λ ≥ 0} ‖target − λᵀ matrix‖ for a matrix of shape (k, P) with large k.

    SciPy's NNLS runs on a working set of rows: those that carry a multiplier, and the ``batch``
    rows that violate the optimality condition ⟨row, residual⟩ ≤ 0 most.  This repeats until no
    row violates it.  The solution is that of all rows, in less time; the rows that are positive
    in a ``guess``, shape (k,), are the first working set.
    """
    norms = np.linalg.norm(matrix, axis=1)
    norms[norms == 0] = 1.0  # such a row never violates the condition
    working = np.zeros(0, int) if guess is None else np.flatnonzero(guess)  # (w,)
    smallest = np.inf
    while True:
        multipliers = np.zeros(len(matrix))
        if len(working):
            columns = np.column_stack([matrix[working].T, target])  # (P, w + 1)
            if columns.shape[0] > columns.shape[1]:
                columns = np.linalg.qr(columns, mode="r")  # (w + 1, w + 1), the same minimiser
            A, b = columns[:, :-1], columns[:, -1]
            multipliers[working] = scipy.optimize.nnls(A, b, maxiter=30 * columns.shape[1])[0]
        residual = target - multipliers @ matrix  # (P,)
        violation = (matrix @ residual) / norms
        worst = np.argsort(-violation)[:batch]
        worst = worst[violation[worst] > 1e-10 * np.linalg.norm(target)]
        size = float(np.linalg.norm(residual))
        if worst.size == 0 or size >= smallest:
            return multipliers
        smallest = size
        working = np.union1d(np.flatnonzero(multipliers), worst)


def solve_nnls_gram(gram: Array, toward: Array) -> Array:
    """Solve min_{λ ≥ 0} λᵀ gram λ − 2 λᵀ toward, for the (k, k) Gram matrix of k rows.

    This equals :func:`solve_nnls` and needs no rows.  A Gram matrix has the square of the
    rows' condition number, so that a ridge of 1e-10 (1e-6 in float32) of each row's own
    square keeps it definite, or a larger one if rounding requires it.
    """
    if not (len(gram) and np.all(np.isfinite(gram)) and np.all(np.isfinite(toward))):
        # SciPy's NNLS may abort the whole process on an empty problem
        raise ValueError(f"gram, toward: expected finite values of k >= 1 rows, got {len(gram)}")
    ridge = 1e-6 if gram.dtype == np.float32 else 1e-10
    gram, toward = gram.astype(np.float64), toward.astype(np.float64)
    squares = np.diag(gram)
    scale = np.where(squares > 0, squares, 1.0) ** -0.5
    unit = gram * scale[:, None] * scale
    unit[squares <= 0, squares <= 0] = 1.0
    while True:
        try:
            factor = scipy.linalg.cholesky(unit + ridge * np.eye(len(gram)), lower=True)
            break
        except scipy.linalg.LinAlgError:
            ridge *= 10.0
    right = scipy.linalg.solve_triangular(factor, scale * toward, lower=True)
    return scale * scipy.optimize.nnls(factor.T, right, maxiter=100 * len(gram))[0]
