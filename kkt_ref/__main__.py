"""Audit the weights of a network, or check another implementation.

For example:

  kkt-ref audit weights.npz --data data.npz --held-out unseen.npz
  kkt-ref check yourpackage.module:YourClass --dtype float32
  kkt-ref questions questions.json
  kkt-ref check --answers answers.json

`kkt-ref COMMAND --help` lists the options of a command; `python -m kkt_ref` is the same program.
"""

import argparse
import sys

import kkt_ref
from kkt_ref.audit import command as audit_command
from kkt_ref.conformance import command as conformance_command


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return 0 if all is right, 1 if checks failed, 2 if misused, 130 if stopped."""
    parser = argparse.ArgumentParser(
        prog="kkt-ref", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"kkt-ref {kkt_ref.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    audit = commands.add_parser("audit", help="report what weights reveal about training data")
    audit_command.add_arguments(audit)
    conformance_command.add_arguments(commands, audit_command.json_path)
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    if options.command == "audit":
        return audit_command.run_command(options, arguments)
    try:
        if options.command in ("check", "questions"):
            return conformance_command.run_command(options)
    except (ValueError, TypeError, OSError) as error:
        parser.error(str(error))
    parser.print_help()
    return 2


if __name__ == "__main__":
    sys.exit(main())
