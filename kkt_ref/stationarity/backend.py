"""Where arrays live: NumPy, or CuPy and any other Array-API namespace on its device.

Every public function takes and returns NumPy arrays.  A function with a ``backend`` moves
its arguments there first and brings its results back to the host.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


class BackendError(RuntimeError):
    """A backend was asked for that this machine cannot give."""


@dataclass(frozen=True)
class Backend:
    """An Array-API namespace and one of its devices."""

    xp: Any = np  # it has asarray(array, device=...)
    device: Any = None  # the default device of the namespace unless given
    to_host: Callable[[Array], np.ndarray] = np.asarray

    def put(self, array: np.ndarray) -> Array:
        """Return a NumPy array on the device; it may share memory with its argument."""
        return self.xp.asarray(array, device=self.device)

    def put_net(self, net: Any) -> Any:
        """Return a network with its parameters on the device."""
        return net.with_arrays([self.put(p) for p in net.arrays])


def get_backend(backend: str | Backend) -> Backend:
    """Return the backend "numpy" or "cupy"; a Backend is returned as it is."""
    if isinstance(backend, Backend):
        return backend
    if backend == "numpy":
        return Backend()
    if backend != "cupy":
        raise ValueError(f"backend: expected 'numpy', 'cupy' or a Backend, got {backend!r}")
    try:
        cupy = importlib.import_module("cupy")
        xp = importlib.import_module("array_api_compat.cupy")
        cupy.zeros(1).sum().item()
    except Exception as error:  # CUDA's errors share no base class
        raise BackendError(
            f"backend: no usable device ({error}); 'cupy' needs the extra cuda "
            "(pip install 'kkt_ref[cuda]') and a GPU"
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
