"""Questions and answers as files, for programs in any language.

``kkt-ref questions FILE`` writes the inputs of all checks, and ``kkt-ref check --answers FILE``
judges what a program answered.  The ending says the format, which is the same for both:

* ``.npz``: one array for each name, and the arrays ``format``, ``seed`` and ``dtype``.
* ``.json``: an object with "format", "seed", "dtype" and "arrays", which maps names to numbers
  and nested lists.
* ``.txt``: a line with format, seed and dtype.  Then each line holds a name, the number of axes,
  the size of each axis and all numbers in C order, separated by spaces.

The names of inputs are ``family/case/argument``.  The families are ``two_classes``, ``classes``
and ``images``, and the arguments are those of the methods of
:class:`~kkt_ref.conformance.questions.Implementation`.  In place of ``net`` there are ``W_1``,
``b_1`` (if the layer has a bias), ``W_2``, ..., ``activation``, which is 0 for ReLU, 1 for
smoothed gates and 2 for softplus, and ``alpha``.  A method is asked of each case of its family
that has all of its arguments.  The names of answers are ``method/case/part``, such as
``outputs/plain/outputs``; :data:`PARTS` lists the parts.  Any of the answers may be left out.
An answers file repeats seed and dtype.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_count, check_dtype, check_path
from kkt_ref.conformance.checks import Check, Result
from kkt_ref.conformance.memory import MemoryCheck
from kkt_ref.conformance.questions import QUESTIONS, names_of
from kkt_ref.conformance.verdict import all_checks, judge
from kkt_ref.network.mlp import MLP

FORMAT = "kkt_ref.questions.1"
ENDINGS = (".npz", ".json", ".txt")
ACTIVATIONS = ("relu", "gated", "softplus")
FAMILIES = {"class": "classes", "ssim": "images"}  # by the first word of a question
INPUTS = ("two_classes/", "classes/", "images/")
PARTS = {name: question.parts for name, question in QUESTIONS.items()}


def write_questions(
    path: str | os.PathLike[str], *, dtype: Any = np.float64, seed: int = 0, answers: bool = False
) -> None:
    """Write the inputs of all checks to a file, which the module describes.

    Parameters
    ----------
    path : path-like
        Ends in .npz, .json or .txt; an existing file is replaced.
    dtype, seed
        As in :func:`~kkt_ref.conformance.check_implementation`.
    answers : bool
        Whether to write the right answers too.

    Raises
    ------
    ValueError, TypeError, OSError
        If an argument is not as above, or the file cannot be written.
    """
    path, dtype, seed = _ending(path, "path"), check_dtype(dtype), check_count(seed, "seed", 0)
    of_cases: dict[str, dict[str, Any]] = {}
    for question in QUESTIONS.values():
        family = FAMILIES.get(question.name.split("_")[0], "two_classes")
        for case in question.cases(dtype, seed):
            given = of_cases.setdefault(f"{family}/{_slug(case.name)}", {})
            for name, value in zip(question.takes, question.arguments(case), strict=True):
                given |= _network(value) if isinstance(value, MLP) else {name: value}
    arrays = {
        f"{prefix}/{name}": np.asarray(value)
        for prefix, given in of_cases.items()
        for name, value in given.items()
    }
    if answers:
        for check in all_checks(dtype, seed):
            arrays |= dict(zip(_names(check), check.right, strict=False))
    header = {"format": FORMAT, "seed": seed, "dtype": dtype.name}
    with write_atomically(path) as file:
        if path.suffix == ".npz":
            np.savez_compressed(file, **header, **arrays)  # type: ignore[arg-type]
        elif path.suffix == ".json":
            lists = {name: value.tolist() for name, value in arrays.items()}
            file.write(json.dumps(header | {"arrays": lists}, separators=(",", ":")).encode())
        else:
            rows = [tuple(header.values())]
            rows += [(k, v.ndim, *v.shape, *v.ravel().tolist()) for k, v in arrays.items()]
            file.writelines(f"{' '.join(map(str, row))}\n".encode() for row in rows)


def check_answers(
    path: str | os.PathLike[str],
    *,
    dtype: Any = None,
    tolerance: float | None = None,
    expected_failures: Mapping[str, str] | None = None,
    on_fail: str = "raise",
    seed: int | None = None,
) -> list[Result]:
    """Judge the answers in a file, which the module describes.

    Parameters
    ----------
    path : path-like
        Ends in .npz, .json or .txt.
    dtype, tolerance, expected_failures, on_fail, seed
        As in :func:`~kkt_ref.conformance.check_implementation`; ``dtype`` and ``seed`` are those
        of the file unless given.

    Returns
    -------
    list of Result
        One for each check; those that are not answered are skipped.

    Raises
    ------
    ConformanceError
        If a check fails and ``on_fail`` is "raise".
    ValueError, TypeError, OSError
        If the file is missing, damaged or holds other names, or an argument is not as above.
    """
    path = _ending(path, "path")
    header, arrays = _read(path)
    for name, given in (("dtype", dtype), ("seed", seed)):
        said = check_dtype(given).name if name == "dtype" and given is not None else given
        if said is not None and str(said) != header[name]:
            raise ValueError(f"{name}: expected {header[name]} as in {path}, got {given!r}")
    seed = check_count(int(header["seed"]) if header["seed"].isdigit() else -1, "seed", 0)
    checks = all_checks(header["dtype"], seed, tolerance)
    wanted = {name for check in checks for name in _names(check)}
    strange = [n for n in arrays if n not in wanted and not n.startswith(INPUTS)]
    if strange or not wanted & arrays.keys():
        raise ValueError(
            f"{path}: expected names such as {min(wanted)}, got {strange[:3] or 'none of them'}"
        )

    def result_of(check: Check) -> Result:
        names = _names(check)
        if not arrays.keys() & set(names):
            why = "not answered" if names else "answers in a file were not asked in a row"
            return check.result("skipped", diagnosis=why)
        parts = [_cast(arrays.get(name), check.dtype) for name in names]
        result = check.judge(tuple(parts) if len(parts) > 1 else parts[0])
        asked, shown = check.last_line, "print(check.arguments, check.right)"
        return result._replace(repeat=result.repeat.replace(asked, shown))

    return judge(checks, result_of, expected_failures, on_fail)


def _slug(name: str) -> str:
    return name.replace(" ", "_")


def _names(check: Check) -> list[str]:
    """Return the names of the answers; a file says nothing of memory."""
    prefix = _slug(check.name.replace(": ", "/"))
    parts = () if isinstance(check, MemoryCheck) else check.question.parts
    return [f"{prefix}/{part}" for part in parts]


def _network(net: MLP) -> dict[str, Any]:
    number, alpha = ACTIVATIONS.index(net.activation.name), getattr(net.activation, "alpha", 0.0)
    arrays = dict(zip(names_of(net), net.arrays, strict=True))
    return {"activation": number, "alpha": alpha, **arrays}


def _ending(path: Any, name: str) -> Path:
    path = check_path(path, name)
    if path.suffix not in ENDINGS:
        raise ValueError(f"{name}: expected an ending {', '.join(ENDINGS)}, got {path}")
    return path


def _read(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return format, seed and dtype, and the arrays by name."""
    what = "answers as kkt_ref.conformance.files describes them"
    readers: dict[str, Callable[[Path], tuple[Any, Any]]] = {
        ".npz": lambda path: (entries := read_npz(path, what), entries),
        ".json": lambda path: (entries := json.loads(path.read_text("utf-8")), entries["arrays"]),
        ".txt": _read_text,
    }
    try:
        header, arrays = readers[path.suffix](path)
        header = {name: str(header[name]) for name in ("format", "seed", "dtype")}
        arrays = {str(name): value for name, value in arrays.items() if name not in header}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path}: expected {what}, but {error!r:.200}") from error
    if header["format"] != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {header['format']}")
    return header, arrays


def _read_text(path: Path) -> tuple[Any, Any]:
    first, *lines = path.read_text("utf-8").splitlines()
    arrays = {}
    for line in lines:
        name, ndim, *rest = line.split()
        sizes, numbers = rest[: int(ndim)], rest[int(ndim) :]
        arrays[name] = np.array(numbers, float).reshape([int(size) for size in sizes])
    return dict(zip(("format", "seed", "dtype"), first.split(), strict=True)), arrays


def _cast(value: Any, dtype: np.dtype) -> Any:
    """Return real numbers in the dtype of the check, and anything else as it is."""
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value)
            return array.astype(dtype) if array.dtype.kind in "iuf" else value
    except (ValueError, OverflowError):
        return value
