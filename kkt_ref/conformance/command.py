"""The commands `check` and `questions`."""

import argparse
import json
import math
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import kkt_ref
from kkt_ref._io import write_atomically
from kkt_ref.conformance.files import check_answers, write_questions
from kkt_ref.conformance.result import reports, summary
from kkt_ref.conformance.verdict import check_implementation

# for terminals without these characters
ASCII = {"θ": "theta", "λ": "lambda", "Φ": "Phi", "Σ": "sum", "σ": "sigma", "∂": "d", "∇": "grad "}
ASCII |= {"‖": "||", "²": "^2", "ε": "epsilon", "δ": "delta", "α": "alpha", "−": "-", "≥": ">="}


def add_arguments(commands: Any, json_path: Callable[[str], Path]) -> None:
    """Add the two commands to the command line."""
    check = commands.add_parser("check", help="check an implementation and name its mistakes")
    check.add_argument("target", nargs="?", help="package.module:object, from the current folder")
    check.add_argument("--answers", type=Path, help="judge the answers in this file instead")
    check.add_argument("--tolerance", type=float, help="the largest relative error allowed")
    known = "checks that are known to fail: in each line a name, # and the reason; * is any text"
    check.add_argument("--expect-fail", type=Path, metavar="FILE", help=known)
    check.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="begin no check after it"
    )
    check.add_argument("--json", type=json_path, help="also write the results to this file")
    questions = commands.add_parser("questions", help="write the inputs of the checks to a file")
    questions.add_argument("file", type=Path, help="ends in .npz, .json or .txt")
    questions.add_argument("--with-answers", action="store_true", help="and the right answers")
    for command in (check, questions):
        command.add_argument("--dtype", choices=("float64", "float32"))
        command.add_argument("--seed", type=int, help="draws the inputs; 0 unless given")


def run_command(options: argparse.Namespace) -> int:
    """Run one of the commands and return its exit status; ValueError says what is misused."""
    drawn = {"dtype": options.dtype, "seed": options.seed}
    drawn = {name: value for name, value in drawn.items() if value is not None}
    if options.command == "questions":
        write_questions(options.file, answers=options.with_answers, **drawn)
        print(options.file)
        return 0
    if (options.target is None) == (options.answers is None):
        raise ValueError("expected either package.module:object or --answers FILE")
    arguments = drawn | {"tolerance": options.tolerance, "on_fail": "return"}
    arguments["expected_failures"] = _reasons(options.expect_fail) if options.expect_fail else {}
    if options.answers:
        results = check_answers(options.answers, **arguments)
    else:
        arguments |= {"time_limit": options.time_limit, "progress": _tell}
        results = check_implementation(_resolved(options.target), **arguments)
    counts = Counter(passed=0, failed=0, unanswered=0, skipped=0)
    counts.update(result.status for result in results)
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    text = "\n".join([*reports(results), *summary(results), total])
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    if text.encode(encoding, "replace").decode(encoding) != text:
        text = text.translate(str.maketrans(ASCII)).encode("ascii", "namereplace").decode()
    print(text)
    if options.json:
        versions = {m.__name__: m.__version__ for m in (kkt_ref, np, scipy)}
        record = {
            "checked": str(options.target or options.answers),
            "versions": versions | {"python": sys.version.split()[0]},
            **{name: getattr(results[0], name) for name in ("seed", "dtype", "tolerance")},
            "summary": summary(results),
            "results": [
                r._asdict()
                | {"error": None if math.isnan(r.error) else r.error, "wrong": dict(r.wrong)}
                for r in results
            ],
        }
        with write_atomically(options.json) as file:
            file.write((json.dumps(record, indent=2) + "\n").encode())
    return 1 if any(result.bad for result in results) else 0


def _tell(name: str) -> None:
    """Show which check begins, in one line of a terminal."""
    if sys.stderr.isatty():
        print(f"{name:70}", end="\r", file=sys.stderr, flush=True)


def _resolved(target: str) -> object:
    """Return the object that a target names; a class is called."""
    sys.path.insert(0, "")
    try:
        resolved = pkgutil.resolve_name(target)
        return resolved() if isinstance(resolved, type) else resolved
    except (Exception, SystemExit) as error:  # the user's module runs here
        raise ValueError(
            f"{target}: expected package.module:object, with a class that needs no arguments or "
            f"an object, but {type(error).__name__}: {error}"
        ) from error


def _reasons(path: Path) -> dict[str, str]:
    """Return names of checks and reasons from a file."""
    reasons = {}
    for line in path.read_text("utf-8").splitlines():
        name, _, reason = (part.strip() for part in line.partition("#"))
        if name and not reason:
            raise ValueError(f"{path}: expected a name, # and a reason in each line, got {line!r}")
        if name:
            reasons[name] = reason
    return reasons
