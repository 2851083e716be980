"""Memory that is free goes back to the system."""

import platform

import psutil
import pytest
import torch

from restore.inference.memory import return_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_free_goes_back_to_the_system():
    pieces = [torch.ones(1 << 14) for _ in range(2000)]  # 125 MiB in pieces that the C library keeps
    process, kept = psutil.Process(), pieces[-1]
    del pieces
    before = process.memory_info().rss
    return_memory()
    assert before - process.memory_info().rss > 60 << 20
    assert float(kept.sum()) == 1 << 14
