"""Shared by all tests: one thread, and no waiting in a spin, so that timings and results are steady."""

import os
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

settings.register_profile("restore", deadline=None)  # the machine may be busy; what is slow is seen in --durations
settings.load_profile("restore")


def pytest_addoption(parser):
    group = parser.getgroup("restore")
    group.addoption("--seconds", type=float, default=5.0, help="how long tests/faults reads damaged files")
    group.addoption("--kills", type=int, default=4, help="how often tests/faults ends each kind of run")
    group.addoption("--seed", type=int, default=0, help="of the damage done to those files")


@pytest.fixture(autouse=True)
def _one_thread():
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


SKIPS = Path(__file__).with_name("allowed_skips.txt")


def pytest_terminal_summary(terminalreporter, exitstatus, config):
    """With RESTORE_CI set, a skip whose reason is not in the written list fails the run."""
    allowed = [line for line in SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    reasons = {
        str(report.longrepr[2]).removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", [])
    }
    surprising = sorted(reason for reason in reasons if not any(reason.startswith(each) for each in allowed))
    if os.environ.get("RESTORE_CI") and surprising:
        terminalreporter.section("skips that are not in tests/allowed_skips.txt")
        for reason in surprising:
            terminalreporter.line(reason)
        terminalreporter._session.exitstatus = 1
