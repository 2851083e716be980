"""Blur kernels against their formulas, and how often each kind is drawn."""

from __future__ import annotations

import math
from collections import Counter
from itertools import chain, repeat

import numpy as np
import pytest
import torch
from scipy.special import j1

from restore.physics.blur_kernels import (
    KINDS,
    SINC,
    Kernel,
    KernelRecipe,
    choice,
    draw_kernel,
    generalised_kernels,
    kernel_values,
    plateau_kernels,
    sinc_kernels,
)
from restore.physics.filters import gaussian_taps
from restore.physics.random import generator_for

HOST = torch.device("cpu")
TABLE = {
    "isotropic": 0.45, "anisotropic": 0.25, "generalised-isotropic": 0.12, "generalised-anisotropic": 0.03,
    "plateau-isotropic": 0.12, "plateau-anisotropic": 0.03,
}  # fmt: skip


def draws(recipe, count):
    numbers = torch.rand(count, 8, dtype=torch.float64, generator=generator_for(count))
    return [draw_kernel(recipe, iter(row)) for row in numbers.tolist()]


def doubles(*values):
    return [torch.tensor([value], dtype=torch.float64) for value in values]


@pytest.fixture(scope="module")
def many():
    return draws(KernelRecipe(), 10_000)


def test_kinds_are_drawn_as_often_as_the_table_says(many):
    counts = Counter(kernel.kind for kernel in many)
    shares = {SINC: 0.1} | {kind: 0.9 * share for kind, share in TABLE.items()}
    assert set(counts) == set(shares) == {SINC, *KINDS}
    for kind, share in shares.items():
        assert abs(counts[kind] - 10_000 * share) < 3 * math.sqrt(10_000 * share * (1 - share)), kind


def test_numbers_are_drawn_from_their_ranges(many):
    assert sorted({kernel.size for kernel in many}) == [7, 9, 11, 13, 15, 17, 19, 21]
    sizes = Counter(kernel.size for kernel in many)
    assert all(abs(count - 1250) < 3 * math.sqrt(10_000 * 7 / 64) for count in sizes.values())
    for size_range, lowest in ((range(7, 13), math.pi / 3), (range(13, 22), math.pi / 5)):
        cutoffs = [kernel.cutoff for kernel in many if kernel.kind == SINC and kernel.size in size_range]
        assert lowest <= min(cutoffs) < lowest + 0.03 and math.pi - 0.03 < max(cutoffs) <= math.pi
    blurs = [kernel for kernel in many if kernel.kind != SINC]
    for kernel in blurs:
        assert all(0.2 <= sigma <= 3 for sigma in kernel.sigma) and -math.pi <= kernel.angle <= math.pi
        assert (kernel.sigma[0] == kernel.sigma[1]) == (not kernel.kind.endswith("anisotropic"))
    for name, low, high in (("generalised", 0.5, 4.0), ("plateau", 1.0, 2.0)):
        powers = torch.tensor([kernel.power for kernel in blurs if kernel.kind.startswith(name)])
        assert low <= powers.min() < low + 0.05 and high - 0.05 < powers.max() <= high
        assert float((powers > 1).float().mean()) == pytest.approx(0.5, abs=3 * 0.5 / math.sqrt(len(powers)))
    assert {kernel.power for kernel in blurs if kernel.kind in ("isotropic", "anisotropic")} == {1.0}


def test_every_kernel_has_sum_1_and_is_symmetric_about_its_middle(many):
    for kernel in many[:400]:
        (values,) = kernel_values(kernel, HOST)
        assert values.shape == (kernel.size, kernel.size)
        assert float(values.double().sum()) == pytest.approx(1, abs=1e-6)
        assert (values - values.flip(0, 1)).abs().max() < 1e-6
        assert values.argmax() == values.numel() // 2
        if kernel.kind != SINC:
            assert values.min() >= 0


@pytest.mark.parametrize("kind", ["isotropic", "generalised-isotropic"])
def test_a_power_of_1_is_the_gaussian(kind):
    line = gaussian_taps(13, 1.7)
    (values,) = kernel_values(Kernel(kind, 13, (1.7, 1.7)), HOST)
    assert torch.allclose(values.double(), torch.outer(line, line), atol=1e-7)


def test_shapes_are_those_of_the_formulas():
    x, y, angle = 3, -2, 0.4
    across, along = math.cos(angle) * y - math.sin(angle) * x, math.cos(angle) * x + math.sin(angle) * y
    q = (along / 2.5) ** 2 + (across / 1.1) ** 2
    arguments = doubles(2.5, 1.1, angle, 1.6)
    for make, value in (
        (generalised_kernels, math.exp(-(q**1.6) / 2)),
        (plateau_kernels, 1 / (1 + q**1.6)),
    ):
        (values,) = make(9, *arguments)
        assert float(values[4 + y, 4 + x] / values[4, 4]) == pytest.approx(value, rel=1e-12)
        ends = [float(values[4, 4 + k] / values[4, 4]) for k in (1, 4)]
        assert ends[0] > ends[1]


def test_kernels_come_in_batches():
    numbers = [torch.rand(5, dtype=torch.float64, generator=generator_for(part)) + 0.5 for part in range(4)]
    for make in (generalised_kernels, plateau_kernels):
        batch = make(7, *numbers)
        assert batch.shape == (5, 7, 7)
        for i, one in enumerate(batch):
            assert torch.equal(one, make(7, *(each[i : i + 1] for each in numbers))[0])
    assert torch.equal(sinc_kernels(7, numbers[0])[3], sinc_kernels(7, numbers[0][3:4])[0])


@pytest.mark.parametrize("cutoff", [math.pi / 5, math.pi / 3, 2.0, math.pi])
def test_the_sinc_is_the_circular_low_pass(cutoff):
    (values,) = sinc_kernels(21, torch.tensor([cutoff], dtype=torch.float64))
    place = np.arange(21) - 10
    radius = np.hypot(place[:, None], place)
    with np.errstate(invalid="ignore"):
        ideal = cutoff * j1(cutoff * radius) / (2 * np.pi * radius)
    ideal[10, 10] = cutoff**2 / (4 * np.pi)
    assert np.allclose(values.numpy(), ideal / ideal.sum(), atol=1e-12)
    for same in (values.flip(0), values.flip(1), values.T):
        assert torch.equal(values, same)
    assert values.min() < 0


def test_the_sinc_passes_below_and_stops_above_its_cutoff():
    (values,) = sinc_kernels(101, torch.tensor([math.pi / 3], dtype=torch.float64))
    response = torch.fft.fft2(values, s=(240, 240)).abs()[0]  # of horizontal frequencies, 2 pi k / 240
    passed, stopped = response[:30], response[50:120]
    assert (passed - 1).abs().max() < 0.1 and stopped.max() < 0.1


def test_choices_at_the_ends():
    weights = {"a": 0.0, "b": 1.0, "c": 3.0, "d": 0.0}
    assert [choice(weights, chance) for chance in (0.0, 0.249, 0.251, 1 - 1e-16, 1.0)] == ["b", "b", "c", "c", "c"]


def test_powers_of_a_range_beyond_1_are_uniform():
    recipe = KernelRecipe(sinc=0.0, weights={"plateau-isotropic": 1.0}, plateau=(2.0, 3.0))
    assert {draw_kernel(recipe, chain(repeat(0.25, 6), (part, 0.5))).power for part in (0.1, 0.9)} == {2.5}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"weights": {"round": 1.0}}, "no kernel 'round'; there are isotropic"),
        ({"weights": {"isotropic": 0.0}}, "one must be above 0"),
        ({"sizes": (7, 20)}, r"sizes are \(7, 20\): two odd numbers"),
        ({"sizes": (9, 7)}, "the smaller one first"),
        ({"sinc": 1.1}, r"sinc is 1\.1: a share"),
        ({"sigma": (0.0, 1.0)}, r"sigma is .*: two numbers of 0\.05 to 50"),
        ({"plateau": (2.0, 1.0)}, "plateau is .* the smaller one first"),
    ],
)
def test_recipes_that_make_no_sense(fields, says):
    with pytest.raises(ValueError, match=says):
        KernelRecipe(**fields)
