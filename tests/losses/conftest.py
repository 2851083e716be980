"""An own weights folder, torch cache and environment; no network."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(weights folder, torch's cache of checkpoints), empty."""
    own, cache = tmp_path / "own", tmp_path / "torch" / "hub" / "checkpoints"
    own.mkdir()
    cache.mkdir(parents=True)
    monkeypatch.setenv("RESTORE_WEIGHTS_DIR", str(own))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("RESTORE_ALLOW_DOWNLOAD", raising=False)

    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return own, cache
