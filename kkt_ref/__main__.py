"""Audit the weights of a network, or check another implementation.

For example:

  kkt-ref audit weights.npz --data data.npz --held-out unseen.npz
  kkt-ref check yourpackage.module:YourClass --dtype float32
  kkt-ref golden folder

`kkt-ref COMMAND --help` lists the options of a command; `python -m kkt_ref` is the same program.
"""

import argparse
import json
import math
import pkgutil
import sys
from pathlib import Path

import kkt_ref
from kkt_ref._io import write_atomically
from kkt_ref.audit import command as audit_command
from kkt_ref.conformance import check_implementation, write_golden


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0 if all is right, 1 if checks failed, 2 if misused, 130 if stopped."""
    parser = argparse.ArgumentParser(
        prog="kkt-ref", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"kkt-ref {kkt_ref.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    audit = commands.add_parser("audit", help="report what weights reveal about training data")
    audit_command.add_arguments(audit)
    check = commands.add_parser("check", help="check an implementation and name its mistakes")
    check.add_argument("target", help="package.module:object, found from the current folder")
    check.add_argument("--dtype", choices=("float64", "float32"), default="float64")
    check.add_argument(
        "--json", type=audit_command.json_path, help="also write the results to this file"
    )
    golden = commands.add_parser("golden", help="write the inputs and right answers of the checks")
    golden.add_argument("folder", type=Path, help="gets golden.npz and golden.json")
    options = parser.parse_args(arguments)
    if options.command == "audit":
        return audit_command.run_command(options)
    try:
        if options.command == "check":
            return _check(options.target, options.dtype, options.json)
        if options.command == "golden":
            print(*write_golden(options.folder), sep="\n")
            return 0
    except (ImportError, AttributeError, ValueError, OSError) as error:
        parser.error(str(error))
    parser.print_help()
    return 2


def _check(target: str, dtype: str, path: Path | None) -> int:
    """Print the results of all checks that did not pass, and how many there are of each kind."""
    sys.path.insert(0, "")
    found = pkgutil.resolve_name(target)
    implementation = found() if isinstance(found, type) else found
    results = check_implementation(implementation, dtype=dtype, on_fail="return")
    for result in results:
        if result.status != "passed":
            print(result)
    counts = {s: sum(r.status == s for r in results) for s in ("passed", "failed", "skipped")}
    print(", ".join(f"{count} {status}" for status, count in counts.items()))
    if path:
        rows = [r._asdict() | {"error": None if math.isnan(r.error) else r.error} for r in results]
        with write_atomically(path) as file:
            file.write((json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode())
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
