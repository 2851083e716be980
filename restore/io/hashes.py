"""Hashes of files, and of the files of a folder together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Hash of a file's bytes. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combined_sha256(files: Iterable[tuple[str, str]]) -> str:
    """Hash over (name, sha256) of several files, in their order."""
    lines = "".join(f"{sha256} {name}\0" for name, sha256 in files)
    return hashlib.sha256(lines.encode(errors="surrogatepass")).hexdigest()
