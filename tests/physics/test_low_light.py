"""The low-light sensor against its own formulas, and camera-shake PSFs."""

from __future__ import annotations

import math

import pytest
import torch

from restore.physics.low_light import HEADROOM, Sensor, add_low_light, clip_lights, draw_sensors, draw_trajectories


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def dark_moments(mean):
    """Mean and variance of max(Poisson(mean) - mean, 0)."""
    chance = [math.exp(-mean) * mean**n / math.factorial(n) for n in range(60)]
    first = sum(p * max(n - mean, 0) for n, p in enumerate(chance))
    return first, sum(p * max(n - mean, 0) ** 2 for n, p in enumerate(chance)) - first**2


def test_dark_current_has_a_bias():
    assert [dark_moments(mean)[0] for mean in (2, 5, 8)] == pytest.approx([0.54, 0.88, 1.12], abs=0.005)


@pytest.mark.parametrize("channel", [0, 1])
def test_mean_and_variance(channel):
    gain, banding, read, dark, level = 8.0, 0.02, 2.0, 5.0, 0.35
    sensor = Sensor(*(torch.tensor([v]) for v in (gain, banding, read, dark)))
    y = add_low_light(torch.full((1, 3, 3000, 300), level), sensor, seeded())[0, channel] * 255
    greens = (1, 2)[channel]
    g, kd, electrons = 6 / greens, gain / 6, 255 * level * greens / gain
    bias, spread = dark_moments(dark)
    mean = g * kd * (electrons + bias)
    variance = (g * kd) ** 2 * (
        (1 + banding**2) * (electrons + read**2 + spread) + banding**2 * (electrons + bias) ** 2
    ) + (kd**2 + 1) / 12
    assert float(y.mean()) == pytest.approx(mean, rel=0.03)
    assert float(y.var()) == pytest.approx(variance, rel=0.03)
    noise_of_rows = math.sqrt((variance - (g * kd * banding * (electrons + bias)) ** 2) / 300)
    assert float(y.mean(1).std()) == pytest.approx(math.hypot(banding * mean, noise_of_rows), rel=0.06)


def test_salt_is_a_matter_of_gain():
    sensor = Sensor(*(torch.tensor([v]) for v in (6.0, 0.0, 0.5, 2.0)))
    y = add_low_light(torch.zeros(1, 3, 2000, 2000), sensor, seeded(1))
    rates = (y > 0.9).double().mean((0, 2, 3))
    assert rates.tolist() == pytest.approx([6e-5, 3e-5, 6e-5], rel=0.3)


def test_seeded():
    x, sensor = torch.rand(2, 3, 20, 20), draw_sensors(2, seeded(3))
    assert torch.equal(add_low_light(x, sensor, seeded(4)), add_low_light(x, sensor, seeded(4)))
    assert not torch.equal(add_low_light(x, sensor, seeded(4)), add_low_light(x, sensor, seeded(5)))
    many = draw_sensors(4000, seeded(6))
    assert set(many.gain.tolist()) == set(range(4, 16))
    assert many.banding.min() >= 0.01 and many.banding.max() <= 0.03 and many.read.min() >= 0.5 and many.dark.max() <= 8


def test_lights_are_clipped_below_white():
    x = torch.tensor([0.0, 0.5, 0.8, 0.9, 1.0])
    assert clip_lights(x).tolist() == pytest.approx([0, 0.5, 0.8, 1 / HEADROOM, 1 / HEADROOM])


def test_traces():
    psfs = draw_trajectories(40, seeded(), 37)
    assert psfs.shape == (40, 1, 37, 37) and (psfs >= 0).all()
    assert torch.allclose(psfs.sum((1, 2, 3)), torch.ones(40), atol=1e-5)
    filled = (psfs > 1e-4).flatten(1).sum(1)
    assert filled.min() >= 3 and 20 < filled.float().mean() < 700
    assert torch.equal(draw_trajectories(3, seeded(1)), draw_trajectories(3, seeded(1)))
    assert len({tuple(p.flatten().tolist()) for p in psfs}) == 40
