"""What is tested here is not the value range: pictures are taken as 0..1, or by their bits."""

import pytest

from restore.picture import ValueScale


@pytest.fixture(autouse=True)
def nominal_range(monkeypatch):
    monkeypatch.setattr("restore.engines.deblur.engine.find_scale", lambda source: ValueScale.nominal(source.info))
