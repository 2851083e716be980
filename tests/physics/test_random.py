"""Random fields: pure functions of their seeds, in any batch and in any band."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from restore.physics.noise_mixture import KINDS, NoiseRecipe, add_noise, plan_noise
from restore.physics.random import RowSeeds, generator_for, hash_seed, hashed_field, normal, poisson, uniform

CPU = torch.device("cpu")


def test_seeds_are_mixed_and_sensitive_to_every_counter() -> None:
    seeds = {hash_seed(seed, step, index) for seed in range(10) for step in range(10) for index in range(10)}
    assert len(seeds) == 1000 and all(0 <= seed < 1 << 64 for seed in seeds)
    assert hash_seed(1) != hash_seed(1, 0) != hash_seed(1, 0, 0)
    flipped = [bin(hash_seed(0, 7) ^ hash_seed(0, 7 ^ (1 << bit))).count("1") for bit in range(32)]
    assert 24 < sum(flipped) / 32 < 40 and min(flipped) > 12  # one bit in, half of 64 out


@pytest.mark.parametrize("field", ["normal", "uniform", "poisson"])
def test_rows_of_a_field_are_a_function_of_their_number(field: str) -> None:
    def draw(first: int, rows: int) -> Tensor:
        seeds, shape = RowSeeds(5, first), (1, 3, rows, 40)
        if field == "poisson":
            return poisson(torch.full(shape, 7.0), seeds)
        return {"normal": normal, "uniform": uniform}[field](shape, seeds, CPU)

    whole = draw(0, 50)
    assert torch.equal(draw(13, 20), whole[:, :, 13:33])
    mean, std = {"normal": (0, 1), "uniform": (0.5, 12**-0.5), "poisson": (7, 7**0.5)}[field]
    assert whole.mean().item() == pytest.approx(mean, abs=0.06 * std)
    assert whole.std().item() == pytest.approx(std, rel=0.05)
    rows = (whole - whole.mean())[0].transpose(0, 1).flatten(1)
    assert abs((rows[1:] * rows[:-1]).mean().item()) < 0.06 * std**2


@pytest.mark.parametrize("kind", KINDS)
def test_noise_in_bands_is_that_of_the_whole(kind: str) -> None:
    """Bands with 16 rows around, starting at multiples of 16, as JPEG's blocks want."""
    x = torch.rand(1, 3, 96, 40, generator=generator_for(2))
    plan = plan_noise(
        NoiseRecipe({kind: 1}, jpeg=float(kind == "gaussian"), camera_jpeg=0, clipped=0), [generator_for(3)]
    )
    whole = add_noise(x, plan, RowSeeds(4))
    band = add_noise(x[:, :, 16:80], plan, RowSeeds(4, 16, 96))
    assert torch.allclose(band[:, :, 16:48], whole[:, :, 32:64], atol=1e-6)


def test_the_level_of_resized_noise_is_that_of_the_whole_picture() -> None:
    """At a factor of 1.02 the grid's beat is 51 rows: bands that knew only of themselves would differ by a third."""
    x, plan = (
        torch.full((1, 1, 64, 200), 0.5),
        plan_noise(
            NoiseRecipe({"resize": 1}, factor=(1.02, 1.02), coarse_sigma=(25.5, 25.5), clipped=0), [generator_for(3)]
        ),
    )
    bands = [add_noise(x[:, :, top : top + 16], plan, RowSeeds(4, top, 64)) - 0.5 for top in range(0, 64, 16)]
    stds = [float(band.std()) for band in bands]
    assert torch.cat(bands, 2).square().mean().sqrt().item() == pytest.approx(0.1, rel=0.02)
    assert max(stds) / min(stds) > 1.15


def test_a_hashed_field_never_reaches_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore.physics.random._mixed", lambda x: x * 0 + (1 << 32) - 1)
    assert 0.999999 < float(hashed_field((1, 2, 2), (0, 0), CPU, 1).max()) < 1


def test_generators_must_match_the_batch() -> None:
    with pytest.raises(ValueError, match="1 generators for a batch of 2; give one for each sample, or one"):
        normal((2, 1, 4, 4), [generator_for(0)], CPU)
