from __future__ import annotations

from pathlib import Path

import pytest

from restore.zoo.weights import save_weights
from tests.zoo.tiny import ARGUMENTS, CARD, tiny


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_weights(path, tiny(), "plain_unet", ARGUMENTS, CARD)
    return path
