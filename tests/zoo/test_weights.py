"""Weights survive the trip to disk; a right file with the wrong content is refused with its reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from restore.errors import FileError, WeightsError
from restore.io.weights_file import Stored
from restore.models.probe import verify_spec
from restore.models.spec import ModelSpec
from restore.zoo import weights
from restore.zoo.weights import read_network, save_weights, tensors_sha256
from tests.zoo.tiny import ARGUMENTS, CARD, message, tiny


def rewritten(path: Path, *, state: dict[str, torch.Tensor] | None = None, label: Any = None, **changes: Any) -> Path:
    """The file with other tensors, another label, or changes to its label."""
    with safetensors.safe_open(path, "pt") as file:
        written = json.loads(file.metadata()["restore"])
    state = safetensors.torch.load_file(path) if state is None else state
    text = json.dumps({**written, **changes}) if label is None else label
    safetensors.torch.save_file(state, path, {"restore": text})
    return path


# ---- the way there and back


def test_round_trip_is_exact(saved):
    net, spec, card, sha256, path = read_network(saved)
    original = tiny()
    x, level = torch.rand(1, 1, 12, 16), torch.rand(1, 1, 12, 16)
    with torch.no_grad():
        assert torch.equal(net(x, noise_level=level), original(x, noise_level=level))
    assert path == saved
    assert not net.training
    assert all(p.dtype == torch.float32 for p in net.parameters())
    assert sha256 == tensors_sha256(original.state_dict())
    assert card == CARD.model_copy(update={"sha256": sha256})
    assert spec.task == "deblur" and spec.radius == original.spec().radius
    verify_spec(net, spec)


def test_half_storage_loads_as_float32(tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_weights(whole, tiny(), "plain_unet", ARGUMENTS, CARD)
    save_weights(half, tiny(), "plain_unet", ARGUMENTS, CARD, half=True)
    header = 8 + int.from_bytes(half.read_bytes()[:8], "little")
    values = tiny().spec().parameters
    assert half.stat().st_size == header + 2 * values
    net = read_network(half).net
    for name, value in tiny().state_dict().items():
        assert net.state_dict()[name].dtype == torch.float32
        assert torch.equal(net.state_dict()[name], value.half().float())


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    again = tmp_path / "again.safetensors"
    save_weights(again, tiny(), "plain_unet", ARGUMENTS, CARD)
    assert again.read_bytes() == saved.read_bytes()


def test_loading_leaves_the_callers_seed_alone(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    read_network(saved)
    assert torch.equal(torch.rand(3), expected)


def test_measured_types_of_the_card_win(tmp_path):
    path = tmp_path / "tiny.safetensors"
    card = CARD.model_copy(update={"dtypes": ("float32", "bfloat16")})
    save_weights(path, tiny(), "plain_unet", ARGUMENTS, card)
    assert read_network(path).spec.dtypes == ("float32", "bfloat16")


def test_the_hash_covers_names_shapes_and_values():
    state = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    first = tensors_sha256(state)
    assert tensors_sha256(dict(reversed(state.items()))) == first
    others = [
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"c": torch.zeros(2, 3), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": torch.ones(1) + 1e-7},
        {"a": torch.zeros(2, 3), "b": torch.ones(1).half()},
    ]
    assert len({first, *map(tensors_sha256, others)}) == 5


# ---- saving refuses what could not be loaded


def test_saving_refuses_other_arguments(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match=r"head.weight is 4 x 8 x 3 x 3, the network's is 5 x 8"):
        save_weights(path, tiny(), "plain_unet", {**ARGUMENTS, "widths": [5, 6]}, CARD)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "half"), [(torch.nan, False), (1e6, True)])
def test_saving_refuses_what_is_not_finite(tmp_path, value, half):
    net = tiny()
    net.get_parameter("tail.bias").data[1] = value
    with pytest.raises(WeightsError, match=r"1 of 4 values of tail.bias are NaN or infinite"):
        save_weights(tmp_path / "x.safetensors", net, "plain_unet", ARGUMENTS, CARD, half=half)


def test_saving_keeps_the_old_file_when_the_disk_fails(saved, monkeypatch):
    before = saved.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left on device"):
        save_weights(saved, tiny(1), "plain_unet", ARGUMENTS, CARD)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_reads_back_before_it_replaces(saved, monkeypatch):
    before = saved.read_bytes()

    def other(_: Path) -> Stored:
        return Stored({"head.weight": torch.zeros(1)})

    monkeypatch.setattr(weights, "read_weights", other)
    with pytest.raises(FileError, match="the weights read back are not those written"):
        save_weights(saved, tiny(1), "plain_unet", ARGUMENTS, CARD)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_saving_under_another_ending_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"Name it \*\.safetensors"):
        save_weights(tmp_path / "x.pth", tiny(), "plain_unet", ARGUMENTS, CARD)


# ---- right file, wrong content


def test_precise_differences(saved):
    state = safetensors.torch.load_file(saved)
    del state["head.bias"]
    state["extra.weight"] = torch.zeros(1)
    state["tail.weight"] = torch.zeros(4, 4, 1, 1)
    state["tail.bias"] = torch.zeros(4, dtype=torch.int8)
    text = message(rewritten(saved, state=state))
    assert "missing: head.bias; not in the network: extra.weight; different: " in text
    assert "tail.weight is 4 x 4 x 1 x 1, the network's is 4 x 4 x 3 x 3" in text
    assert "tail.bias is stored as int8, the network's is float32" in text


def test_long_differences_are_cut(saved):
    text = message(rewritten(saved, state={"a": torch.zeros(1)}))
    assert "missing: head.weight, head.bias, encoders.0.0.conv1.weight, encoders.0.0.conv1.bias and 16 more" in text
    assert "; not in the network: a)" in text


def test_weights_that_are_not_finite(saved):
    state = safetensors.torch.load_file(saved)
    state["head.bias"][:2] = torch.inf
    assert "2 of 4 values of head.bias are NaN or infinite" in message(rewritten(saved, state=state))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_stored_types_load_as_float32(tmp_path, dtype):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({n: v.to(dtype) for n, v in tiny().state_dict().items()}, path)
    net, _, card, *_ = read_network(path, "plain_unet", ARGUMENTS)
    assert card is None
    assert torch.equal(net.get_parameter("head.bias"), tiny().get_parameter("head.bias").to(dtype).float())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "plain_unett"}, "Did you mean 'plain_unet'?"),
        ({"model": "os:system"}, "not part of this program"),
        ({"layout": 2}, "layout 2, this version reads 1"),
        ({"card": {}}, "its label cannot be read"),
        ({"label": "not json"}, "its label cannot be read"),
        ({"label": "[1]"}, "its label cannot be read"),
        ({"label": "[" * 100_000}, "its label cannot be read"),
        ({"arguments": [1]}, "its label cannot be read"),
        ({"arguments": {"depth": 3}}, "has no argument 'depth'"),
        ({"arguments": {"widths": [4, 7]}}, "different: head.weight is 4 x 8 x 3 x 3, the network's is 4 x 12"),
        ({"arguments": {"widths": [2000, 2000]}}, "the network's is 2000 x 12 x 3 x 3"),
        ({"arguments": {"widths": [1e99]}}, "argument widths.0 cannot be 1e+99"),
        ({"arguments": {"blocks": [1000000000, 1, 1]}}, "the network cannot be built"),
    ],
)
def test_wrong_labels(saved, changes, words):
    assert words in message(rewritten(saved, **changes))


class Foreign(nn.Module):
    """A network outside the program, with a marker of having been built."""

    built = 0

    def __init__(self, width: int = 2) -> None:
        super().__init__()
        type(self).built += 1
        self.conv = nn.Conv2d(3, width, 1)

    def spec(self) -> ModelSpec:
        return ModelSpec("denoise", channels=3, parameters=8)


class Silent(nn.Conv2d):
    """A network without a spec."""

    def __init__(self) -> None:
        super().__init__(3, 3, 1)


def test_a_file_never_chooses_code(tmp_path):
    path, name = tmp_path / "x.safetensors", f"{__name__}:Foreign"
    save_weights(path, Foreign(), name, {}, CARD)
    Foreign.built = 0
    assert "If you trust that code, name it" in message(path)
    assert Foreign.built == 0
    assert isinstance(read_network(path, model=name).net, Foreign)


def test_weights_of_another_network_name_both(saved):
    assert "they are of 'plain_unet', not 'nafnet'" in message(saved, model="nafnet")
    assert "no model is called 'drunet'" in message(saved, model="drunet")


def test_a_network_without_a_spec_is_refused(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(Silent().state_dict(), path)
    assert "Silent does not say what it needs" in message(path, model=f"{__name__}:Silent")
