"""Perceptual, style and LPIPS losses: their forms on random features; parity with the `lpips` package."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from restore.errors import ConfigError, WeightsError
from restore.losses.files import MissingWeightsError
from restore.losses.lpips import LPIPS, NETS, read_head
from restore.losses.perceptual import PRESETS, PerceptualLoss, StyleLoss, gram, unit

from .golden import golden_pair, random_pair

RANDOM = {"weights": "random", "seed": 0}
MAKERS = {
    "perceptual": lambda: PerceptualLoss(**RANDOM),
    "perceptual_l1": lambda: PerceptualLoss("vgg16", {"conv2_2": 1.0}, distance="l1", **RANDOM),
    "style": lambda: StyleLoss("squeeze", **RANDOM),
    "lpips": lambda: LPIPS("alex", head="uniform", **RANDOM),
}


@pytest.fixture(params=MAKERS)
def loss(request):
    return MAKERS[request.param]()


def noisy(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))


def test_zero_when_equal_symmetric_and_growing_with_noise(loss):
    x = golden_pair(64, 64)[0].float()
    values = [loss(noisy(x, sigma), x).item() for sigma in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)]
    assert values[0] == 0
    assert values == sorted(values) and len(set(values)) == 6
    assert loss(x, noisy(x, 0.1)).item() == pytest.approx(loss(noisy(x, 0.1), x).item(), rel=1e-5)


def test_gradients_are_finite_and_reach_the_output_alone(loss):
    flat = torch.full((1, 3, 64, 64), 0.5)
    for x, y in ((flat, flat + 0.1), (flat, flat), (flat * 0, flat), random_pair(0, 1, 3, 64, 64)):
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x, y), x)
        assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    assert list(loss.parameters()) == []


def test_parents_cannot_put_it_in_training_mode(loss):
    x, y = random_pair(0, 1, 3, 64, 64)
    before = loss(x, y)
    nn.ModuleList([loss]).train()
    assert loss(x, y) == before == loss(x, y)
    assert loss.state_dict() == {}
    loss.load_state_dict({})


def test_autocast_changes_nothing(loss):
    x, y = random_pair(0, 1, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(x, y)
    assert inside.dtype == torch.float32 and inside == loss(x, y)


def test_one_value_a_picture(loss):
    x, y = random_pair(0, 3, 3, 64, 64)
    y[1] = x[1]
    values = loss.distances(x, y)
    assert values.shape == (3,) and values[1] == 0
    assert values[2].item() == pytest.approx(loss(x[2:], y[2:]).item(), rel=1e-4)
    assert loss(x, y).item() == pytest.approx(values.mean().item())
    with pytest.raises(ValueError, match="tensors of one shape"):
        loss(x, y[:, :1])


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_published_ones(name):
    """Each equals the sum written out: weights, distance, before or after the activation."""
    preset, loss = PRESETS[name], PerceptualLoss(preset=name, **RANDOM)
    x, y = random_pair(0, 1, 3, 32, 32)
    features = loss.features
    assert features.backbone.name == {"johnson": "vgg16"}.get(name, "vgg16_caffe" if "caffe" in name else "vgg19")
    x, y = (features(each, list(preset.taps)) for each in (x, y))
    expected = {
        "srgan": lambda: 0.0061514802 * nn.functional.mse_loss(x["relu5_4"], y["relu5_4"]),
        "srgan22": lambda: 0.0061514802 * nn.functional.mse_loss(x["relu2_2"], y["relu2_2"]),
        "srgan_caffe": lambda: nn.functional.mse_loss(x["relu5_3"] / 12.75, y["relu5_3"] / 12.75),
        "srgan22_caffe": lambda: nn.functional.mse_loss(x["relu2_2"] / 12.75, y["relu2_2"] / 12.75),
        "esrgan": lambda: nn.functional.l1_loss(x["conv5_4"], y["conv5_4"]),
        "real_esrgan": lambda: sum(
            weight * nn.functional.l1_loss(x[tap], y[tap])
            for tap, weight in {"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1, "conv4_4": 1, "conv5_4": 1}.items()
        ),
        "johnson": lambda: sum(
            nn.functional.mse_loss(x[tap], y[tap]) for tap in ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
        ),
    }[name]()
    assert loss(*random_pair(0, 1, 3, 32, 32)).item() == pytest.approx(float(expected), rel=1e-5)


def test_halved_features_are_a_quarter_of_srgans_loss(monkeypatch):
    """Its Eq. 5; and the loss reaches the picture, not the network."""
    loss = PerceptualLoss(preset="srgan_caffe", **RANDOM)
    x, y = random_pair(0, 1, 3, 32, 32)
    x.requires_grad_()
    whole, features = loss(x, y), loss.features.forward
    monkeypatch.setattr(loss.features, "forward", lambda *a: {tap: f / 2 for tap, f in features(*a).items()})
    assert loss(x, y).item() == pytest.approx(whole.item() / 4, rel=1e-5)
    whole.backward()
    assert x.grad is not None and x.grad.abs().max() > 0
    assert not any(value.requires_grad for value in loss.features.buffers())


def test_vgg54_lies_behind_the_activation_of_layer_34():
    """By hooks on the layers: what index 35 gives is that of 34, cut at 0."""
    features = PerceptualLoss(preset="srgan", **RANDOM).features
    seen: dict[int, torch.Tensor] = {}
    hooks = [
        features.layers[place].register_forward_hook(lambda module, x, y, place=place: seen.update({place: y.clone()}))
        for place in (34, 35)
    ]
    tapped = features(random_pair(0, 1, 3, 32, 32)[0], ["relu5_4"])["relu5_4"]
    for hook in hooks:
        hook.remove()
    assert seen[34].min() < 0 and torch.equal(seen[35], seen[34].clamp(min=0)) and torch.equal(tapped, seen[35])


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_what_repeats_every_box_is_not_seen(stride):
    generator = torch.Generator().manual_seed(3)
    y = torch.rand(2, 3, 64, 64, generator=generator)
    pattern = torch.randn(1, 3, 4, 4, generator=generator)
    pattern = 0.1 * (pattern - pattern.mean((2, 3), keepdim=True)).tile(16, 16)
    loss = PerceptualLoss(box=4, stride=stride, **RANDOM)
    assert PerceptualLoss(**RANDOM)(y + pattern, y) > 1e-3
    assert loss(y + pattern, y) < 1e-9
    assert loss(y + 0.1 * torch.randn(y.shape, generator=generator), y) > 1e-4


def test_gram_and_unit_in_closed_form():
    f = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 2, 1, 2)
    assert gram(f).flatten().tolist() == pytest.approx([5 / 4, 11 / 4, 11 / 4, 25 / 4])
    lengths = unit(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)).flatten().tolist()
    assert lengths == pytest.approx([0.6, 0.8], rel=1e-6)
    assert unit(torch.zeros(1, 2, 1, 1)).abs().max() == 0


def test_style_does_not_mind_where_things_are():
    """Shifted by the stride of a periodic picture away from the border, style moves far less than content."""
    i = torch.arange(96.0)
    x = (0.5 + 0.3 * torch.sin(i / 3)[:, None] * torch.cos(i / 4)).expand(1, 3, 96, 96)
    a, b = x[..., :64, :64], x[..., 7:71, 9:73]
    content, style = (make("squeeze", {"relu2": 1.0}, **RANDOM) for make in (PerceptualLoss, StyleLoss))
    other = noisy(a, 0.2)
    assert content(a, b) / content(a, other) > 3 * style(a, b) / style(a, other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "vgg61"}, "no backbone is called 'vgg61'"),
        ({"backbone": "vgg16", "taps": {"conv1_3": 1.0}}, r"vgg16 has no tap 'conv1_3'\. Did you mean 'conv"),
        ({"distance": "l3"}, r"no distance is called 'l3'\..*Known: l1, l2, unit"),
        ({"box": 2, "stride": 4}, r"box is 2 and stride 4\. Give box 1 or more and a stride of 1 to box"),
        ({"preset": "esrgn"}, r"no preset is called 'esrgn'\. Did you mean 'esrgan'"),
    ],
)
def test_mistakes_name_the_nearest(wrong, message):
    with pytest.raises(ConfigError, match=message):
        PerceptualLoss(**RANDOM, **wrong)


def test_missing_weights_are_told_at_construction(folders):
    with pytest.raises(MissingWeightsError, match="the loss 'perceptual' needs weights"):
        PerceptualLoss(preset="esrgan")
    with pytest.raises(MissingWeightsError, match="LPIPS on alex needs weights"):
        LPIPS("alex")


# LPIPS


def head(path, net: str, **changes: torch.Tensor):
    """A file of learned weights of the package's layout."""
    generator = torch.Generator().manual_seed(0)
    state = {
        f"lin{place}.model.1.weight": torch.rand((1, count, 1, 1), generator=generator)
        for place, count in enumerate(NETS[net][1].values())
    }
    torch.save(state | changes, path)
    return path


@pytest.mark.slow  # its imports take seconds
@pytest.mark.parametrize("net", NETS)
def test_equals_the_lpips_package(net):
    """Its learned weights, our random backbone in both."""
    package = pytest.importorskip("lpips")
    ours = LPIPS(net, **RANDOM)
    assert not ours.is_lpips, "random features are not LPIPS, whatever the head"
    theirs = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    trunk = dict(ours.features.layers.named_buffers())
    with torch.no_grad():
        for name, value in theirs.net.named_parameters():
            value.copy_(trunk[name.partition(".")[2]])
        for seed in range(3):
            x, y = random_pair(seed, 1, 3, 64, 64 + 16 * seed)
            assert ours(x, y).item() == pytest.approx(theirs(x, y, normalize=True).item(), abs=1e-5)


@pytest.mark.parametrize(("net", "count"), [("alex", 1152), ("vgg", 1472), ("squeeze", 2240)])
def test_the_packages_learned_weights(net, count):
    pytest.importorskip("lpips")
    weights = torch.cat(read_head(net))
    assert weights.numel() == count and (weights >= 0).all()


@pytest.mark.parametrize("net", NETS)
def test_real_weights_equal_the_lpips_package(net):
    package = pytest.importorskip("lpips")
    try:
        ours = LPIPS(net)
    except MissingWeightsError as error:
        pytest.skip(str(error))
    theirs = package.LPIPS(net=net, verbose=False)
    for seed in range(3):
        x, y = random_pair(seed, 1, 3, 64, 64)
        assert ours(x, y).item() == pytest.approx(theirs(x, y, normalize=True).item(), abs=1e-5)


def test_a_backbone_is_no_head_and_a_head_no_backbone(tmp_path):
    good = head(tmp_path / "head.pth", "squeeze")
    assert LPIPS("squeeze", head=str(good), **RANDOM).distances(*random_pair(0, 2, 3, 32, 32)).shape == (2,)
    backbone = {
        f"features.{k}": v for k, v in LPIPS("squeeze", head="uniform", **RANDOM).features.layers.named_buffers()
    }
    torch.save(backbone, tmp_path / "backbone.pth")
    with pytest.raises(WeightsError, match=r"not the learned weights of LPIPS on squeeze \(it holds 50 tensors"):
        LPIPS("squeeze", head=str(tmp_path / "backbone.pth"), **RANDOM)
    with pytest.raises(WeightsError, match="these are not weights of squeeze"):
        LPIPS("squeeze", weights=str(good), head=str(good))
    with pytest.raises(WeightsError, match="not the learned weights of LPIPS on alex"):
        read_head("alex", good)
    full = LPIPS("squeeze", weights=str(tmp_path / "backbone.pth"), head=str(good))
    assert full.is_lpips and full.features.origin == str(tmp_path / "backbone.pth")


def test_negative_weights_are_refused(tmp_path):
    changes = {"lin0.model.1.weight": torch.full((1, 64, 1, 1), -0.1)}
    with pytest.raises(WeightsError, match="LPIPS has no negative weights"):
        read_head("alex", head(tmp_path / "head.pth", "alex", **changes))
