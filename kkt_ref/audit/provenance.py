"""The origin of a report: when it was made, by which command, and from which files."""

import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

import kkt_ref


def describe_run(command: str, inputs: dict[str, Path | None]) -> dict[str, Any]:
    """Return the date, the versions, the command, and the names, sizes and hashes of files.

    ``inputs`` maps the role of each file to its path, or to None.  The environment variable
    SOURCE_DATE_EPOCH, if it is set, replaces the clock, so that a report can be made again.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)
    return {
        "date": now.strftime("%d %B %Y, %H:%M UTC"),
        "version": f"kkt_ref {kkt_ref.__version__}, NumPy {np.__version__}",
        "command": command,
        "files": [
            {"role": role, "name": path.name, "bytes": len(raw), "sha256": sha256(raw).hexdigest()}
            for role, path in inputs.items()
            if path is not None
            for raw in [path.read_bytes()]
        ],
    }
