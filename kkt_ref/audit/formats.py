"""Files and modules that the audit does not read, of the table ``not_read.toml``."""

import functools
import re
import tomllib
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np


def refuse_other_formats(path: Path) -> None:
    """Raise ValueError if a file is of a known format that the audit does not read."""
    if not path.is_file():
        return
    with open(path, "rb") as file:
        head = file.read(64).decode("latin-1")
    try:
        with zipfile.ZipFile(path) as archive:
            members = " ".join(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError):
        members = ""
    for name, row in _table("formats").items():
        begins, holds = row.get("begins"), row.get("holds", "\0")
        inside = bool(begins and re.match(begins, head, re.DOTALL)) or holds in members
        if inside or path.suffix.lower() in row.get("ends", ()):
            raise ValueError(
                f"{path}: expected an npz or safetensors file, got {name} by its "
                f"{'content' if inside else 'name'}; {row['advice']}"
            )


def refuse_other_modules(path: Path, state: dict[str, np.ndarray]) -> None:
    """Raise ValueError if arrays belong to a known module other than Linear."""
    for name, row in _table("modules").items():
        for key in state:
            if re.search(row["looks"], key, re.IGNORECASE):
                raise ValueError(f"{path}: {key!r} belongs to {name}; {row['advice']}")
    for key, value in state.items():
        if re.search(r"(^|\.)weight$", key) and value.ndim == 1:
            row = _table("vectors")[str(f"{key[:-6]}bias" in state).lower()]
            raise ValueError(f"{path}: {key!r} belongs to {row['name']}; {row['advice']}")


@functools.cache
def _table(name: str) -> dict[str, Any]:
    """Return a table, its advice in full sentences."""
    text = files("kkt_ref.audit").joinpath("not_read.toml").read_text(encoding="utf-8")
    tables: dict[str, dict[str, Any]] = tomllib.loads(text)
    for row in tables[name].values():
        for word, sentence in tables["advice"].items():
            row["advice"] = row["advice"].replace(word, sentence)
    return tables[name]
