"""The commands `check` and `questions`."""

import argparse
import json
import math
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy

import kkt_ref
from kkt_ref._io import write_atomically
from kkt_ref.conformance.files import check_answers, write_questions
from kkt_ref.conformance.verdict import check_implementation, summary


def add_arguments(commands: Any, json_path: Callable[[str], Path]) -> None:
    """Add the two commands to the command line."""
    check = commands.add_parser("check", help="check an implementation and name its mistakes")
    check.add_argument(
        "target", nargs="?", help="package.module:object, found from the current folder"
    )
    check.add_argument("--answers", type=Path, help="judge the answers in this file instead")
    check.add_argument("--tolerance", type=float, help="the largest relative error allowed")
    check.add_argument(
        "--expect-fail",
        type=Path,
        metavar="FILE",
        help="checks that are known to fail: in each line a name, # and the reason",
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
    given = {"dtype": options.dtype, "seed": options.seed}
    given = {name: value for name, value in given.items() if value is not None}
    if options.command == "questions":
        write_questions(options.file, answers=options.with_answers, **given)
        print(options.file)
        return 0
    if (options.target is None) == (options.answers is None):
        raise ValueError("expected either package.module:object or --answers FILE")
    expected = _expected(options.expect_fail) if options.expect_fail else {}
    given |= {"tolerance": options.tolerance, "expected_failures": expected, "on_fail": "return"}
    if options.answers:
        results = check_answers(options.answers, **given)
    else:
        results = check_implementation(_resolved(options.target), **given)
    for result in results:
        if result.bad:
            print(result.report())
        elif result.status != "passed":
            print(result)
    print(*summary(results), sep="\n")
    counts = {status: 0 for status in ("passed", "failed", "skipped")}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    if options.json:
        rows = [r._asdict() | {"error": None if math.isnan(r.error) else r.error} for r in results]
        versions = {"kkt_ref": kkt_ref.__version__, "python": sys.version.split()[0]}
        versions |= {"numpy": np.__version__, "scipy": scipy.__version__}
        about = {
            "checked": str(options.target or options.answers),
            "versions": versions,
            "seed": results[0].seed,
            "dtype": results[0].dtype,
            "tolerance": results[0].tolerance,
            "summary": summary(results),
            "results": rows,
        }
        with write_atomically(options.json) as file:
            file.write((json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())
    return 1 if any(result.bad for result in results) else 0


def _resolved(target: str) -> object:
    """Return the object that a target names; a class is called."""
    sys.path.insert(0, "")
    try:
        found = pkgutil.resolve_name(target)
        return found() if isinstance(found, type) else found
    except (Exception, SystemExit) as error:  # the user's module runs here
        raise ValueError(
            f"{target}: expected package.module:object, with a class that needs no arguments or "
            f"an object, but {type(error).__name__}: {error}"
        ) from error


def _expected(path: Path) -> dict[str, str]:
    """Return names of checks and reasons from a file."""
    expected = {}
    for line in path.read_text("utf-8").splitlines():
        name, _, reason = (part.strip() for part in line.partition("#"))
        if name and not reason:
            raise ValueError(f"{path}: expected a name, # and a reason in each line, got {line!r}")
        if name:
            expected[name] = reason
    return expected
