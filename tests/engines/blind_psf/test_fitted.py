"""The fitted files: each says what it was made of, and holds what its card says."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from restore.engines.blind_psf import appraisal, candidates, judge
from restore.engines.blind_psf.fitted import APPRAISAL_FILE, JUDGE_FILE, PSF_FILE
from restore.zoo.weights import label_of, tensors_sha256

NETWORKS = {PSF_FILE: candidates.network, JUDGE_FILE: judge._judge, APPRAISAL_FILE: appraisal._appraisal}


@pytest.mark.parametrize("file", NETWORKS, ids=lambda file: file.stem)
def test_the_card_of_a_fitted_file(file):
    label, net = label_of(file), NETWORKS[file]()
    assert label.model == f"{type(net).__module__}:{type(net).__qualname__}"
    assert label.card.sha256 == tensors_sha256(load_file(file))
    assert label.card.data and all(source.licence for source in label.card.data)
    assert not any("bsds" in source.name.lower() for source in label.card.data)
    assert label.card.steps > 0 and label.card.machine and "Held out" in label.card.summary
    assert label.card.command.startswith("python tools/fit_")
    assert file.stat().st_size < 1e6
    assert all(bool(torch.isfinite(value).all()) for value in net.state_dict().values())
