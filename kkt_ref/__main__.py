"""Command line: ``python -m kkt_ref audit WEIGHTS``, ``check module:object``, ``golden DIR``."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from kkt_ref._io import write_atomically
from kkt_ref.audit import command as audit_command
from kkt_ref.conformance.checks import check_implementation
from kkt_ref.conformance.golden import write_golden


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status.

    0 done and right, 1 checks failed, 2 misused, 130 stopped.
    """
    parser = argparse.ArgumentParser(prog="python -m kkt_ref", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="is an implementation right?")
    check.add_argument("target", help="package.module:object, found from the current folder")
    check.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    check.add_argument("--json", type=Path, help="write the results for machines")
    golden = commands.add_parser("golden", help="write golden vectors")
    golden.add_argument("folder", type=Path)
    audit = commands.add_parser("audit", help="what do a network's weights give away?")
    audit_command.add_arguments(audit)
    options = parser.parse_args(arguments)
    if options.command == "audit":
        return audit_command.run_command(options)
    if options.command == "golden":
        if not options.folder.is_dir():
            parser.error(f"{options.folder}: expected a folder; create it first")
        for path in write_golden(options.folder):
            print(path)
        return 0
    try:
        implementation = _load(options.target)
        results = check_implementation(implementation, dtype=options.dtype, on_fail="return")
    except (ImportError, AttributeError, ValueError) as error:
        parser.error(str(error))
    for result in results:
        if result.status != "passed":
            said = result.diagnosis or result.meaning
            print(f"{result.status:8} {result.name}: error {result.error:.1e}; {said}")
    counts = {s: sum(r.status == s for r in results) for s in ("passed", "failed", "skipped")}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    if options.json:
        rows = [result._asdict() for result in results]
        for row in rows:
            row["error"] = None if row["error"] != row["error"] else row["error"]
        with write_atomically(options.json) as file:
            file.write((json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode())
    return 1 if counts["failed"] else 0


def _load(target: str) -> Any:
    module, separator, name = target.partition(":")
    if not separator or not module or not name:
        raise ValueError(f"target: expected package.module:object, got {target!r}")
    sys.path.insert(0, "")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found() if isinstance(found, type) else found


if __name__ == "__main__":
    sys.exit(main())
