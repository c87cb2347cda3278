"""Questions and answers as files, for programs in any language.

``kkt-ref questions FILE`` writes the inputs of all checks, and ``kkt-ref check --answers FILE``
judges what a program answered.  The ending says the format, which is the same for both:

* ``.npz``: one array for each name, and the arrays ``format``, ``seed`` and ``dtype``.
* ``.json``: an object with "format", "seed", "dtype" and "arrays", which maps names to numbers
  and nested lists.
* ``.txt``: a line with format, seed and dtype.  Then each line holds a name, the number of axes,
  the size of each axis and all numbers in C order (the last axis is the fastest), separated by
  spaces.  A single number has 0 axes.

An answers file repeats the format, which is ``kkt_ref.questions.1``, and the seed and dtype of
the questions.  A text file of answers begins so (the numbers stand for yours)::

    kkt_ref.questions.1 0 float64
    outputs/plain/outputs 1 7 0.1 0.2 0.3 0.4 0.5 0.6 0.7
    stationarity/plain/value 0 12.5

The names of inputs are ``family/case/argument``, such as ``two_classes/one_layer/x``.  The
families are ``two_classes``, ``classes`` and ``images``, and the arguments are those of the
methods of :class:`~kkt_ref.conformance.questions.Implementation`, whose help has the formulas.  In
place of ``net`` there are ``W_1``, ``b_1`` (if the layer has a bias), ``W_2``, ...,
``activation``, which is 0 for ReLU, 1 for smoothed gates and 2 for softplus, and ``alpha``.

The names of answers are ``method/case/part``; :data:`METHODS` says for each method its family and
parts.  A method is asked of each case of its family that has all of its arguments.  A program may
leave out methods; of each other method it must answer all cases with all parts.  Numbers need 17
significant digits in float64 and 9 in float32.  Text may be UTF-8 or UTF-16.

This program answers ``outputs``::

    import json
    from pathlib import Path
    import numpy as np

    asked, answers = json.loads(Path("questions.json").read_text()), {}
    for name, x in asked["arrays"].items():
        family, case, argument = name.split("/")
        if family == "two_classes" and argument == "x":
            def given(part):
                return np.array(asked["arrays"].get(f"{family}/{case}/{part}", 0.0))
            z, layer, alpha = np.array(x), 1, given("alpha")
            while given(f"W_{layer}").ndim:
                if layer > 1 and given("activation") == 2:
                    z = np.logaddexp(0, alpha * z) / alpha
                elif layer > 1:
                    z = np.maximum(z, 0)
                z = z @ given(f"W_{layer}").T + given(f"b_{layer}")
                layer += 1
            answers[f"outputs/{case}/outputs"] = z[:, 0].tolist()
    Path("answers.json").write_text(json.dumps({**asked, "arrays": answers}))
"""

import codecs
import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from kkt_ref._io import read_npz, write_atomically
from kkt_ref._validation import check_count, check_dtype, check_path
from kkt_ref.conformance.cases import FAMILIES, cases, in_dtype
from kkt_ref.conformance.check import Check
from kkt_ref.conformance.questions import QUESTIONS
from kkt_ref.conformance.result import Result
from kkt_ref.conformance.steps import names_of
from kkt_ref.conformance.verdict import all_checks, judge
from kkt_ref.network.mlp import MLP

FORMAT = "kkt_ref.questions.1"
ENDINGS = (".npz", ".json", ".txt")
ACTIVATIONS = ("relu", "gated", "softplus")
METHODS = {name: (question.family, question.parts) for name, question in QUESTIONS.items()}
MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}  # else it is UTF-8


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
    """
    path = _known_ending(path)
    checks, arrays = all_checks(dtype, seed), dict[str, Any]()
    for family in FAMILIES:
        for case in cases(family, dtype, seed):
            inputs = {name: in_dtype(value, dtype) for name, value in case.inputs.items()}
            inputs = (_network(inputs.pop("net")) if "net" in inputs else {}) | inputs
            prefix = f"{family}/{_slug(case.name)}"
            arrays |= {f"{prefix}/{name}": np.asarray(value) for name, value in inputs.items()}
    for check in checks if answers else []:
        arrays |= dict(zip(_names(check), check.right, strict=False))
    header = {"format": FORMAT, "seed": checks[0].seed, "dtype": checks[0].dtype.name}
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
    """Judge the answers in a file, which the module describes; methods left out are skipped.

    Parameters
    ----------
    path : path-like
        Ends in .npz, .json or .txt.
    dtype, tolerance, expected_failures, on_fail, seed
        As in :func:`~kkt_ref.conformance.check_implementation`; ``dtype`` and ``seed`` are those
        of the file unless given.
    """
    path = _known_ending(path)
    header, arrays = _read(path)
    header["seed"] = header["seed"].removesuffix(".0")
    wanted = {"dtype": None if dtype is None else check_dtype(dtype).name, "seed": seed}
    for name, value in wanted.items():
        if value is not None and str(value) != header[name]:
            raise ValueError(f"{name}: expected {header[name]} as in {path}, got {value!r}")
    seed = check_count(int(header["seed"]) if header["seed"].isdigit() else -1, "seed", 0)
    checks = all_checks(header["dtype"], seed, tolerance)
    known = {name for check in checks for name in _names(check)}
    strange = [n for n in arrays if n not in known and n.split("/")[0] not in FAMILIES]
    if strange or not known & arrays.keys():
        raise ValueError(
            f"{path}: expected names such as {min(known)}, got {strange[:3] or 'none of them'}"
        )

    def result_of(check: Check) -> Result:
        names = _names(check)
        lacking = [name for name in names if name not in arrays]
        if not names or check.question.name not in offered:
            why = "not answered" if names else "answers in a file were not asked in a row"
            return check.result("skipped", diagnosis=why)
        if lacking:
            which = "these cases" if lacking == names else " and ".join(lacking)
            return check.result("unanswered", diagnosis=f"the file lacks {which}")
        parts = tuple(_cast(arrays[name], check.dtype) for name in names)
        answer = parts if len(parts) > 1 else parts[0]
        method = {check.question.name: lambda *arguments: copy.deepcopy(answer)}
        return check.asked(SimpleNamespace(**method))

    offered = {name.split("/")[0] for name in arrays}
    return judge(checks, result_of, expected_failures, on_fail)


def _slug(name: str) -> str:
    return name.replace(" ", "_")


def _names(check: Check) -> list[str]:
    """Return the names of the answers; a file says nothing of memory."""
    prefix = _slug(check.name.replace(": ", "/"))
    return [f"{prefix}/{part}" for part in check.question.parts if check.other is None]


def _network(net: MLP) -> dict[str, Any]:
    number, alpha = ACTIVATIONS.index(net.activation.name), getattr(net.activation, "alpha", 0.0)
    arrays = dict(zip(names_of(net), net.arrays, strict=True))
    return {"activation": number, "alpha": alpha, **arrays}


def _known_ending(path: Any) -> Path:
    path = check_path(path, "path")
    if path.suffix not in ENDINGS:
        raise ValueError(f"path: expected an ending {', '.join(ENDINGS)}, got {path}")
    return path


def _read(path: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Return format, seed and dtype, and the arrays by name."""
    wanted = "answers as kkt_ref.conformance.files describes them"
    try:
        if path.suffix == ".txt":
            header, arrays = _read_text(path)
        elif path.suffix == ".json":
            header = json.loads(_text(path))
            arrays = header["arrays"]
        else:
            header = arrays = read_npz(path, wanted)
        header = {name: str(header[name]) for name in ("format", "seed", "dtype")}
        arrays = {str(name): value for name, value in arrays.items() if name not in header}
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{path}: expected {wanted}, but {error!r:.200}") from error
    if header["format"] != FORMAT:
        raise ValueError(f"{path}: expected format {FORMAT}, got {header['format']}")
    return header, arrays


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return raw.decode(MARKS.get(raw[:2], "utf-8-sig"))


def _read_text(path: Path) -> tuple[Any, Any]:
    first, *lines = filter(str.strip, _text(path).splitlines())
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
