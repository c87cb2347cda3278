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
from kkt_ref.conformance.result import Result, summary
from kkt_ref.conformance.verdict import check_implementation

QUIET = ("passed", "skipped")


def add_arguments(commands: Any, json_path: Callable[[str], Path]) -> None:
    """Add the two commands to the command line."""
    check = commands.add_parser("check", help="check an implementation and name its mistakes")
    check.add_argument("target", nargs="?", help="package.module:object, from the current folder")
    check.add_argument("--answers", type=Path, help="judge the answers in this file instead")
    check.add_argument("--tolerance", type=float, help="the largest relative error allowed")
    known = "checks that are known to fail: in each line a name, # and the reason"
    check.add_argument("--expect-fail", type=Path, metavar="FILE", help=known)
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
        results = check_implementation(_resolved(options.target), **arguments)
    lines = [r.report() if r.bad else str(r) for r in results if r.status not in QUIET]
    counts = Counter(passed=0, failed=0, skipped=0)
    counts.update(result.status for result in results)
    total = ", ".join(f"{count} {status}" for status, count in counts.items())
    print(*lines, *_skipped(results), *summary(results), total, sep="\n")
    if options.json:
        versions = {m.__name__: m.__version__ for m in (kkt_ref, np, scipy)}
        record = {
            "checked": str(options.target or options.answers),
            "versions": versions | {"python": sys.version.split()[0]},
            **{name: getattr(results[0], name) for name in ("seed", "dtype", "tolerance")},
            "summary": summary(results),
            "results": [
                r._asdict() | {"error": None if math.isnan(r.error) else r.error} for r in results
            ],
        }
        with write_atomically(options.json) as file:
            file.write((json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
    return 1 if any(result.bad for result in results) else 0


def _skipped(results: list[Result]) -> list[str]:
    """Return one line for each question and reason."""
    skipped = [result for result in results if result.status == "skipped"]
    counts = Counter((result.name.split(":")[0], result.diagnosis) for result in skipped)
    return [
        f"skipped  {name}: {reason} ({count} check{'s' * (count > 1)})"
        for (name, reason), count in counts.items()
    ]


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
