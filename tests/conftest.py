"""Shared by all tests: one thread, and no waiting in a spin, so that timings and results are steady."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import pytest
from hypothesis import settings

settings.register_profile("restore", deadline=None)  # the machine may be busy; what is slow is seen in --durations
settings.load_profile("restore")


@pytest.fixture(autouse=True)
def _one_thread():
    import sys

    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
