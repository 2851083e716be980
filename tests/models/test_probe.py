"""The probe finds what is built in: radius, grid, globality, and every kind of wrong spec."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.errors import ModelError
from restore.models.plain_unet import PlainUNet
from restore.models.probe import GLOBAL, measure_radius, verify_spec
from restore.models.spec import ModelSpec, Output


def conv(kernel: int = 3, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(3, 3, kernel, padding=dilation * (kernel - 1) // 2, dilation=dilation)


def spec(net: nn.Module, **facts: int) -> ModelSpec:
    parameters = sum(p.numel() for p in net.parameters())
    return replace(ModelSpec("denoise", channels=3, parameters=parameters), **facts)


class GlobalPool(nn.Module):
    """Squeeze and excite: every output depends on the whole picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = conv(), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return x + y * self.gate(y.mean((2, 3), keepdim=True))


class ZeroBranch(nn.Module):
    """A branch that is silent at the start of training (NAFNet's beta)."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.beta = conv(7), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.beta * self.wide(x)


class Windowed(nn.Module):
    """Mean over disjoint windows: radius window - 1, grid of window."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(x, self.window), scale_factor=self.window)


class Tall(nn.Module):
    """Reaches 5 rows and 1 column."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, (11, 3), padding=(5, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


@pytest.mark.parametrize("unshuffle", [1, 2, 3])
@pytest.mark.parametrize(
    ("widths", "blocks"), [((4,), (0,)), ((4,), (3,)), ((4, 4), (1, 2, 1)), ((4, 4, 4), (1, 0, 2, 1, 0))]
)
def test_analytic_radius_is_the_probed_one(unshuffle, widths, blocks):
    net = PlainUNet(widths=widths, blocks=blocks, unshuffle=unshuffle)
    assert measure_radius(net, replace(net.spec(), radius=0)) == net.spec().radius
    verify_spec(net, net.spec())


def pixel_probe(net: nn.Module, multiple_of: int, side: int) -> int:
    """The textbook probe: one NaN pixel in a square picture, over all phases of both axes."""
    farthest, middle = 0, side // 2
    for row in range(middle, middle + multiple_of):
        for column in range(middle, middle + multiple_of):
            x = torch.zeros(1, 3, side, side)
            x[..., row, column] = torch.nan
            with torch.no_grad():
                touched = net(x).isnan().any(dim=1)[0].nonzero()
            assert touched.min() > 0 and touched.max() < side - 1
            farthest = max(farthest, int((touched - torch.tensor([row, column])).abs().max()))
    return farthest


def test_half_strips_find_what_single_pixels_find():
    net = PlainUNet(widths=(4, 4), blocks=(1, 1, 1)).eval()
    assert measure_radius(net, net.spec()) == pixel_probe(net, 4, 96) == 23


@pytest.mark.parametrize(
    ("net", "facts", "radius"),
    [
        (nn.Sequential(conv(), conv(5), conv(3, dilation=4)), {}, 7),
        (Tall(), {}, 5),
        (ZeroBranch(), {}, 3),
        (Windowed(8), {"multiple_of": 8, "min_size": 8}, 7),
        (nn.Sequential(conv(5), nn.Upsample(scale_factor=2), conv()), {"scale": 2}, 3),
        (conv(1), {}, 0),
        (nn.Sequential(conv(3, dilation=100), conv(3, dilation=200)), {}, 300),
        (nn.Sequential(*(conv(9, dilation=8) for _ in range(4))), {}, 128),
    ],
)
def test_known_radii(net, facts, radius):
    assert measure_radius(net, spec(net, **facts)) == radius
    verify_spec(net, spec(net, radius=radius, **facts))


@pytest.mark.parametrize("net", [GlobalPool(), nn.Sequential(conv(), nn.InstanceNorm2d(3))])
def test_global_networks_are_reported(net):
    said = spec(net, min_size=2)
    assert measure_radius(net, said) is GLOBAL
    verify_spec(net, replace(said, tiling="local"))
    with pytest.raises(ModelError, match="sees the whole picture"):
        verify_spec(net, said)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"radius": 22}, "radius: the spec says 22, the network reaches 23"),
        ({"radius": 24}, "radius: the spec says 24, the network reaches 23"),
        ({"parameters": 7}, "parameters: the spec says 7, the network has"),
        ({"multiple_of": 8}, "multiple_of: the spec says 8, the network's grid is 4"),
        ({"multiple_of": 2}, "multiple_of: the network does not run on 4 x 6 pixels"),
        ({"multiple_of": 1, "min_size": 1}, "min_size: the network does not run on 1 x 1 pixels"),
        ({"scale": 2, "residual": False}, "the spec says 1 x 3 x 8 x 8, the network gives 1 x 3 x 4 x 4"),
        ({"channels": 1}, "does not run on 4 x 4"),
        ({"conditions": ("noise_level",)}, "takes 0 condition planes, some are given"),
        ({"conditions": ("psf",)}, "conditions: the network does not take psf"),
        ({"inputs": ("before", "after")}, "does not run on 4 x 4"),
        ({"blind": True}, "blind: the spec says true, output (0, 0) depends on its own input pixel"),
        ({"outputs": (Output("clean"), Output("noise")), "residual": False}, "the spec says 1 x 6 x 4 x 4"),
    ],
)
def test_wrong_specs_are_named(wrong, words):
    net = PlainUNet(widths=(4, 4), blocks=(1, 1, 1))
    with pytest.raises(ModelError) as caught:
        verify_spec(net, replace(net.spec(), **wrong))
    assert "PlainUNet and its spec differ" in str(caught.value)
    assert words in str(caught.value)


def test_a_grid_hidden_by_internal_padding_is_found():
    class Padding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Windowed(4)

        def forward(self, x: Tensor) -> Tensor:
            height, width = x.shape[2:]
            wide = F.pad(x, (0, -width % 4, 0, -height % 4))
            return self.inner(wide)[..., :height, :width]

    net = Padding()
    with pytest.raises(ModelError, match="multiple_of: the spec says 2, the network's grid is 4 or more"):
        verify_spec(net, spec(net, multiple_of=2, radius=3))
    verify_spec(net, spec(net, multiple_of=4, radius=3))


def test_networks_that_swallow_nan_are_refused():
    class Swallows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.nan_to_num()

    with pytest.raises(ModelError, match="suppresses NaN"):
        measure_radius(Swallows(), spec(Swallows()))


def test_the_probe_leaves_the_network_as_it_was():
    net = PlainUNet(widths=(4,), blocks=(1,)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    verify_spec(net, net.spec())
    assert net.training and all(torch.equal(before[n], v) for n, v in net.state_dict().items())


class Many(nn.Module):
    """Two pictures (or frames), a noise level and a PSF in; a picture and a grey map of twice the size out."""

    def __init__(self, pictures: int = 2) -> None:
        super().__init__()
        self.mix, self.level = nn.Conv2d(3 * pictures, 4, 3, padding=1), nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor, *, noise_level: Tensor, psf: Tensor) -> Tensor:
        y = self.mix(x) + self.level * noise_level + psf.sum((-2, -1), keepdim=True)
        return F.interpolate(y, scale_factor=2.0)


MANY = ModelSpec(
    "unroll", inputs=("first", "second"), outputs=(Output("result"), Output("map", "_map", channels=1)),
    conditions=("noise_level", "psf"), channels=3, scale=2, radius=1,
)  # fmt: skip


@pytest.mark.parametrize(("pictures", "facts"), [(2, {}), (3, {"inputs": ("picture",), "window": 3})])
def test_inputs_frames_outputs_and_conditions_are_tried(pictures, facts):
    net = Many(pictures)
    said = replace(MANY, parameters=sum(p.numel() for p in net.parameters()), **facts)
    verify_spec(net, said)
    for wrong, words in (
        ({"inputs": ("picture",), "window": 5}, "does not run on 1 x 1"),
        ({"outputs": (Output(),)}, "the spec says 1 x 3 x 2 x 2, the network gives 1 x 4 x 2 x 2"),
        ({"conditions": ("noise_level",)}, "conditions: the network does not take noise_level: .*psf"),
        ({"radius": 2}, "radius: the spec says 2, the network reaches 1"),
        ({"conditions": ("time",)}, "the probe knows no condition 'time'"),
    ):
        with pytest.raises(ModelError, match=words):
            verify_spec(net, replace(said, **wrong))


def test_a_map_of_the_noise_is_part_of_the_reach():
    class Level(nn.Module):
        def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
            return x + F.avg_pool2d(noise_level, 5, 1, 2)

    assert measure_radius(Level(), ModelSpec("denoise", conditions=("noise_level",), channels=3)) == 2


class Lies(nn.Conv2d):
    """Its `residual` is not what `forward` adds."""

    def residual(self, x: Tensor) -> Tensor:
        return super().forward(x)

    def forward(self, input: Tensor) -> Tensor:
        return input + 1.5 * super().forward(input)


class NotFinite(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) / 0


def test_a_residual_that_is_none_and_values_that_are_none():
    torch.manual_seed(0)
    net = Lies(3, 3, 1)
    with pytest.raises(ModelError, match="residual: the picture and `residual` differ from `forward` by"):
        verify_spec(net, spec(net, residual=True))
    verify_spec(net, spec(net))
    with pytest.raises(ModelError, match="the network has no such method"):
        verify_spec(conv(), spec(conv(), residual=True, radius=1))
    with pytest.raises(ModelError, match="values: the network does not give finite numbers for 1 x 1 pixels"):
        verify_spec(NotFinite(3, 3, 1), spec(net, tiling="local"))
