"""Where arrays live: NumPy, or CuPy and any other Array-API namespace on its device.

Every public function takes and returns NumPy arrays.  A function with a ``backend`` moves
its arguments there first and brings its results back to the host.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from kkt_ref.network.mlp import MLP

Array = Any


class BackendError(RuntimeError):
    """A backend was asked for that this machine cannot give."""


@dataclass(frozen=True)
class Backend:
    """An Array-API namespace and one of its devices.

    Parameters
    ----------
    xp : namespace
        It has ``asarray(array, device=...)``.
    device : optional
        A device of the namespace; its default unless given.
    to_host : callable
        Maps an array of the namespace to a NumPy array.
    """

    xp: Any = np
    device: Any = None
    to_host: Callable[[Array], np.ndarray] = np.asarray

    def put(self, array: np.ndarray, dtype: Any = None) -> Array:
        """Return a NumPy array on the device; it may share memory with its argument."""
        return self.xp.asarray(np.asarray(array, dtype=dtype), device=self.device)

    def put_net(self, net: MLP, dtype: Any = None) -> MLP:
        """Return a network with its parameters on the device."""
        return net.with_arrays([self.put(p, dtype) for p in net.arrays])

    def get_net(self, net: MLP) -> MLP:
        """Return a network with NumPy parameters."""
        return net.with_arrays([self.to_host(p) for p in net.arrays])


def get_backend(backend: str | Backend) -> Backend:
    """Return a backend by its name.

    Parameters
    ----------
    backend : "numpy", "cupy" or Backend

    Returns
    -------
    Backend

    Raises
    ------
    BackendError
        If CuPy or array-api-compat is missing, or there is no usable device.
    ValueError
        If the name is another one.
    """
    if isinstance(backend, Backend):
        return backend
    if backend == "numpy":
        return Backend()
    if backend != "cupy":
        raise ValueError(
            "backend: expected 'numpy', 'cupy' or a "
            f"kkt_ref.stationarity.backend.Backend, got {backend!r}"
        )
    try:
        cupy = importlib.import_module("cupy")
        xp = importlib.import_module("array_api_compat.cupy")
        cupy.zeros(1).sum().item()
    except ImportError as error:
        raise BackendError(
            f"backend: 'cupy' needs the extra cuda (pip install 'kkt_ref[cuda]'): {error}"
        ) from error
    except Exception as error:  # CUDA's errors share no base class
        raise BackendError(
            f"backend: CuPy is installed but finds no usable device ({error}); use backend='numpy'"
        ) from error
    return Backend(xp, None, cupy.asnumpy)


def namespace(x: Array) -> Any:
    """Return the Array-API namespace of an array, by array-api-compat where it is installed."""
    if isinstance(x, np.ndarray):
        return np
    try:
        compat = importlib.import_module("array_api_compat")
    except ImportError:
        return x.__array_namespace__()
    return compat.array_namespace(x)
