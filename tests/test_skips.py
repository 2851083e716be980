"""CI fails on a skip that is in no list."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
IN_A_WORKER = ("-n", "1") if find_spec("xdist") else ()
"""As CI runs them: what a worker skips is counted where the run ends."""


@pytest.mark.parametrize(("reason", "code"), [("needs a CUDA device", 0), ("too lazy", 1)])
def test_a_skip_that_is_not_in_the_list_fails_the_run(tmp_path, reason, code, monkeypatch):
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    (tmp_path / "allowed_skips.txt").write_text((TESTS / "allowed_skips.txt").read_text())
    (tmp_path / "test_one.py").write_text(f"import pytest\n\ndef test_one():\n    pytest.skip({reason!r})\n")
    monkeypatch.setenv("RESTORE_CI", "1")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *IN_A_WORKER, str(tmp_path)],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert ran.returncode == code, ran.stdout
    assert ("not in tests/allowed_skips.txt" in ran.stdout) == bool(code)
