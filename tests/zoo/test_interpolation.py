"""Weights between two networks: each of them exactly at the ends, a straight line in between."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from restore.errors import ConfigError, WeightsError
from restore.zoo.interpolation import interpolated, interpolated_state
from restore.zoo.weights import Loaded, read_network, save_weights
from tests.zoo.tiny import ARGUMENTS, CARD, tiny


def saved(folder: Path, name: str, seed: int, **changes: object) -> Loaded:
    net = tiny(seed)
    save_weights(folder / f"{name}.safetensors", net, "plain_unet", ARGUMENTS, CARD.model_copy(update=changes))
    return read_network(folder / f"{name}.safetensors")


def test_the_ends_are_the_networks_themselves(tmp_path):
    a, b = saved(tmp_path, "a", 0), saved(tmp_path, "b", 1)
    assert interpolated(a, b, 0) is a
    assert interpolated(a, b, 1) is b
    states = a.net.state_dict(), b.net.state_dict()
    for share, end in zip((0.0, 1.0), states, strict=True):
        mixed = interpolated_state(*states, share)
        assert all(torch.equal(mixed[name], value) for name, value in end.items())
        assert all(mixed[name].data_ptr() != value.data_ptr() for name, value in end.items())


def test_in_between_lies_a_straight_line(tmp_path):
    a, b = saved(tmp_path, "a", 0, dtypes=("float32", "bfloat16")), saved(tmp_path, "b", 1, dtypes=("float32",))
    before = {name: value.clone() for name, value in a.net.state_dict().items()}
    mixed = interpolated(a, b, 0.25)
    for name, value in mixed.net.state_dict().items():
        expected = 0.75 * a.net.state_dict()[name].double() + 0.25 * b.net.state_dict()[name].double()
        torch.testing.assert_close(value.double(), expected, rtol=0, atol=1e-7)
    assert all(torch.equal(value, before[name]) for name, value in a.net.state_dict().items())
    assert not mixed.net.training
    assert mixed.path == a.path
    assert mixed.spec.dtypes == ("float32",)
    assert len({a.sha256, b.sha256, mixed.sha256, interpolated(a, b, 0.5).sha256}) == 4
    assert mixed.sha256 == interpolated(a, b, 0.25).sha256


def test_counters_come_from_the_nearer_one():
    a = {"w": torch.zeros(2), "batches": torch.tensor(10)}
    b = {"w": torch.ones(2), "batches": torch.tensor(30)}
    assert [int(interpolated_state(a, b, share)["batches"]) for share in (0, 0.25, 0.5, 0.75, 1)] == [
        10,
        10,
        10,
        30,
        30,
    ]
    assert interpolated_state(a, b, 0.75)["w"].tolist() == [0.75, 0.75]


def test_different_networks_are_refused(tmp_path):
    a, b = saved(tmp_path, "a", 0), saved(tmp_path, "b", 1, task="denoise")
    with pytest.raises(WeightsError) as caught:
        interpolated(a, b, 0)
    count = f"{a.spec.parameters:,}"
    assert str(caught.value) == (
        f"{b.path}: weights of different networks cannot be mixed (they are of a PlainUNet of {count} parameters for "
        f"denoise, those of {a.path} of a PlainUNet of {count} parameters for deblur). "
        "Mix weights that were trained one from the other"
    )
    one = torch.zeros(1)
    with pytest.raises(WeightsError, match=r"they differ in body\.bias, tail\.bias"):
        interpolated_state({"w": one}, {"w": one, "tail.bias": one, "body.bias": one}, 0.5)
    with pytest.raises(WeightsError, match=r"they differ in w\)"):
        interpolated_state({"w": one}, {"w": torch.zeros(2)}, 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_shares_outside_are_refused(share):
    with pytest.raises(ConfigError, match="Give 0 for the first network, 1 for the other"):
        interpolated_state({}, {}, share)
