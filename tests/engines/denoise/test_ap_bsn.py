"""AP-BSN's inference: what is refined, that tiles change nothing, and that weights of it are used that way."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import torch
from torch import nn

import restore
from restore.engines.denoise.ap_bsn import PASSES, SHARE, ApBsnEngine, replacement_mask
from restore.engines.denoise.network import DenoisingNetwork
from restore.errors import ConfigError
from restore.inference.engine import Condition, Place
from restore.models.cbsn import CBSN
from restore.models.spec import ModelSpec
from restore.objectives.blind_spot import BlindSpot
from restore.zoo.card import WeightsCard
from restore.zoo.weights import save_weights


def picture(height=70, width=90, seed=0):
    return np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)


class Recorder(nn.Module):
    """Gives zeros, and keeps what it was shown."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, x):
        self.shown.append(x)
        return torch.zeros_like(x)


def test_the_first_estimate_is_made_on_phases_and_sixteen_percent_are_put_back():
    net = Recorder()
    x = torch.rand(1, 1, 3, 64, 80, generator=torch.Generator().manual_seed(0)) + 0.1
    engine = ApBsnEngine(DenoisingNetwork(net, ModelSpec("denoise", channels=3), "recorder", ""))
    engine(x, Condition(data=(None, 0)), [Place(0, 0, 64, 80)])
    assert net.shown[0].shape == (4, 3, 32, 40)
    assert torch.equal(net.shown[0][1], x[0, 0, :, ::2, 1::2])
    assert len(net.shown) == 1 + PASSES
    back = [each[0] != 0 for each in net.shown[1:]]
    for mask, each in zip(back, net.shown[1:], strict=True):
        assert float(mask.float().mean()) == pytest.approx(0.16, abs=0.015)
        assert torch.equal(each[0][mask], x[0, 0][mask])  # by the noisy samples themselves
    both = (back[0] & back[1]).float().mean()
    assert float(both) == pytest.approx(0.16**2, abs=0.01)  # independently in every pass
    channels = (back[0][0] & back[0][1]).float().mean()
    assert float(channels) == pytest.approx(0.16**2, abs=0.01)  # samples, not pixels


def test_what_is_replaced_follows_the_place_and_the_seed_alone():
    x = torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    place, inner = Place(0, 0, 40, 40), Place(4, 6, 40, 40)
    whole = replacement_mask(x, [place, inner], 7, 1, SHARE)
    assert whole.shape == x.shape and whole.dtype == torch.bool
    assert torch.equal(whole[0, :, 4:31, 6:34], replacement_mask(1 - x[:1, :, :27, :28], [inner], 7, 1, SHARE)[0])
    assert torch.equal(whole[1, :, :30, :30], whole[0, :, 4:34, 6:36])  # a batch of tiles, each by its own place
    for seed, number in ((8, 1), (7, 2)):
        both = (whole[0] & replacement_mask(x[:1], [place], seed, number, SHARE)[0]).float().mean()
        assert float(both) == pytest.approx(SHARE**2, abs=0.012)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    arguments = {"width": 8, "blocks": 2, "blind": True}
    card = WeightsCard(name="mine", task="denoise", summary="", date=datetime.date(2026, 1, 1), licence="CC0")
    path = tmp_path / "mine.safetensors"
    save_weights(path, CBSN(**arguments), "cbsn", arguments, card)
    return path


def test_weights_that_are_blind_are_used_so(weights):
    noisy = picture(230, 250)
    whole, tiled, other = (
        restore.load("denoise", weights=weights, **options).restore(noisy)
        for options in ({}, {"tile": 32}, {"seed": 1, "tile": 64})
    )
    assert whole.decisions["method"] == "network mine, blind: pixel-shuffle 2 and 8 refinements"
    assert tiled.provenance["tiles"] >= 4 > whole.provenance["tiles"]
    assert np.abs(tiled.picture.pixels - whole.picture.pixels).max() < 1e-5
    assert np.abs(other.picture.pixels - whole.picture.pixels).max() > 1e-3  # another seed replaces other samples
    assert restore.load("denoise", weights=weights)(picture(71, 33)).shape == (71, 33, 3)


def test_a_blind_network_has_no_other_pass():
    with pytest.raises(ConfigError, match="always blind learns from the blind loss alone"):
        BlindSpot(CBSN(3, 4, 1, blind=True), ramp=10)
    torch.manual_seed(0)
    net = CBSN(3, 16, 1, blind=True)
    x = torch.rand(1, 3, 12, 12)
    assert torch.equal(net(x), net(x, True))
    assert not torch.equal(net(x), net(x, False))
