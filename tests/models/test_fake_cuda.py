"""Every network on a pretended GPU: a tensor that stays on the CPU fails here, without a GPU.

Torch's autograd engine starts no backward pass on "cuda" where there is none, so the backward pass runs on the
pretended device "meta", which mixes with the CPU as little.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from restore.models import MODELS, build
from restore.models.probe import example
from restore.models.spec import ModelSpec, spec_of

ARGUMENTS = {"compact_reflection": {"widths": (8, 12), "blocks": (1, 1, 1)},
             "plain_unet": {"condition_channels": 1}, "wiener_unet": {"denoise": True},
             "multi_output": {"network": "compact_sr", "arguments": {"tail": "nearest"}}}  # fmt: skip


class Mixed(nn.Module):
    """The fault that is looked for: a constant made on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * torch.linspace(0, 1, x.shape[-1], device="cpu")

    def spec(self) -> ModelSpec:
        return ModelSpec("denoise", channels=3, parameters=12)


class Forgets(Mixed):
    """The same fault from the constructor: a tensor that is no buffer, which `.to` leaves behind."""

    def __init__(self) -> None:
        super().__init__()
        self.ramp = torch.linspace(0, 1, 24)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.ramp


def moved(net: nn.Module, device: str) -> nn.Module:
    """Its parameters and buffers on a pretended device, as `.to` would (which refuses pretended tensors)."""
    for module in net.modules():
        for name, value in module._parameters.items():
            module._parameters[name] = None if value is None else nn.Parameter(torch.empty_like(value, device=device))
        for name, value in module._buffers.items():
            module._buffers[name] = None if value is None else torch.empty_like(value, device=device)
    return net


def answered(net: nn.Module, device: str) -> Tensor:
    """What a network gives for a small batch, both on a pretended device."""
    net = moved(net, device).train()
    shown = example(spec_of(net), 16, 24, torch.empty(0, device=device), batch=2)
    return net(shown.pictures, **shown.conditions)


@pytest.mark.parametrize("device", ["cuda", "meta"])
@pytest.mark.parametrize("name", MODELS)
def test_networks_stay_on_their_device(name, device, monkeypatch):
    if device == "meta":  # which autocast does not know
        monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    with FakeTensorMode():
        net = build(name, **ARGUMENTS.get(name, {}))
        y, scale = answered(net, device), spec_of(net).scale
        outputs = sum(output.channels_of(3) for output in spec_of(net).outputs)
        channels = 3 * spec_of(net).heads if spec_of(net).heads > 1 else outputs
        assert y.device.type == device and y.shape == (2, channels, 16 * scale, 24 * scale) and y.requires_grad
        if device == "meta" or torch.cuda.is_available():
            y.square().mean().backward()
            assert {p.grad.device.type for p in net.parameters() if p.grad is not None} == {device}
            assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("device", ["cuda", "meta"])
@pytest.mark.parametrize("kind", [Mixed, Forgets])
def test_a_mix_of_devices_fails(kind, device):
    with FakeTensorMode(), pytest.raises(RuntimeError, match="device"):
        answered(kind(), device)


def test_a_condition_left_behind_fails():
    with FakeTensorMode():
        net = moved(build("plain_unet", condition_channels=1), "cuda")
        with pytest.raises(RuntimeError, match="device"):
            net(torch.rand(1, 3, 16, 16, device="cuda"), noise_level=torch.rand(1, 1, 16, 16))
