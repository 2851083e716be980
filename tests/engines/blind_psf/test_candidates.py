"""Candidates of a PSF."""

from __future__ import annotations

import pytest
import torch

from restore.engines.blind_psf.candidates import HEADS, SIDE, WINDOWS, PSFNetwork, candidates, evidence
from restore.physics.batch import crop_or_pad
from restore.physics.color import srgb_to_linear, to_grey
from restore.physics.fourier import convolve_reflected
from restore.physics.psf import disc, motion
from tests.engines.blind_psf.photo import picture


def test_the_network_of_candidates_gives_psfs_of_sum_1():
    light = torch.rand(96, 96)
    seen = evidence(light)
    assert seen.maps.shape == (len(WINDOWS), SIDE, SIDE) and seen.facts.shape == (len(WINDOWS), 3)
    torch.manual_seed(0)
    psfs, logits = PSFNetwork(heads=3)(seen.maps[None], seen.facts[None])
    assert psfs.shape == (1, 3, SIDE, SIDE) and logits.shape == (1, 3)
    assert float(psfs.min()) >= 0 and torch.allclose(psfs.sum((-2, -1)), torch.ones(1, 3), atol=1e-5)


def test_candidates_are_estimates_and_the_networks_by_falling_probability():
    blurred, _ = picture(blur=8)
    found = candidates(to_grey(srgb_to_linear(blurred[..., :128, :128]))[0, 0])
    assert [each.number for each in found] == list(range(len(WINDOWS) + HEADS + 4))
    assert [each.origin for each in found[:2]] == ["estimate in 9 px", "estimate in 15 px"]
    chances = [float(each.origin.rpartition(" ")[2]) for each in found[len(WINDOWS) : -4]]
    assert chances == sorted(chances, reverse=True)


@pytest.mark.parametrize(("truth", "origin"), [(motion(11, 30), "line of"), (disc(5), "disc of")])
def test_straight_motion_and_defocus_are_read_off(truth, origin):
    _, clean = picture()
    light = convolve_reflected(srgb_to_linear(clean), truth)
    light = (light + 0.001 * torch.randn(light.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    found = [each for each in candidates(to_grey(light)[0, 0]) if each.origin.startswith(origin)]
    truth = crop_or_pad(truth, (SIDE, SIDE))
    assert min(float((each.psf - truth).square().sum() / truth.square().sum()) for each in found) < 0.03
