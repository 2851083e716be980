"""The small networks of blind deblurring, beside this code; by tools/fit_blind_psf.py and tools/fit_appraisal.py.

Their headers hold cards, as those of the zoo's weights do (`restore.zoo.weights.label_of`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

Net = TypeVar("Net", bound=nn.Module)
_FILES = tuple(Path(__file__).with_name(f"{name}.safetensors") for name in ("psf", "judge", "appraisal"))
PSF_FILE, JUDGE_FILE, APPRAISAL_FILE = _FILES


@torch.inference_mode(False)
def fitted(make: Callable[[], Net], file: Path) -> Net:
    """A network that `make` builds, with the weights of one of the files, float32, to be used."""
    from safetensors.torch import load_file

    net = make()
    net.load_state_dict({name: value.float() for name, value in load_file(file).items()})
    return net.eval()


@cache
def digest() -> str:
    """Of all the files: what they say shapes the results."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in _FILES)).hexdigest()
