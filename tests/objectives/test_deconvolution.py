"""The objective of deconvolution: its parts by hand, and that all of them fall."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from restore.data.batches import Batch
from restore.degradations.blur import BlurDegradation
from restore.errors import ConfigError
from restore.models.spec import ModelSpec
from restore.models.wiener_layer import DeconvolutionNetwork, Deconvolved
from restore.models.wiener_unet import WienerUNet
from restore.objectives.deconvolution import Deconvolution
from restore.physics.fourier import convolve, otf
from tests.classical.blurred import scene
from tests.training.tiny import Described


class Given(DeconvolutionNetwork):
    """Gives a fixed result, and keeps what it was called with."""

    def __init__(self, result):
        super().__init__()
        self.result, self.calls = result, []
        self.parameter = torch.nn.Parameter(torch.zeros(()))

    def stages(self, x, psf, noise_level):
        self.calls.append((x, psf, noise_level))
        return self.result

    def spec(self):
        return ModelSpec("deconv", conditions=("psf", "noise_level"), channels=3)


class Sharpens(Described):
    """A network of the user's own: no intermediate results, and it asks for the PSF alone."""

    def forward(self, x, *, psf):
        return self[0](x) + psf.mean((1, 2, 3), keepdim=True)

    def spec(self):
        return replace(super().spec(), task="deconv", conditions=("psf",))


def batch(count=2, side=48, step=0):
    picture = scene()[0].float()
    crops = [picture[:, 40 * i : 40 * i + side, 30 * i : 30 * i + side] for i in range(count)]
    clean = torch.stack(crops)
    return Batch({"clean": clean.expand(-1, 3, -1, -1)}, 0, step, 0)


def test_the_papers_loss_by_hand():
    b = batch()
    half, full, blurred = (torch.rand(2, 3, n, n) for n in (24, 48, 48))
    objective = Deconvolution(Given(Deconvolved([half, full], blurred)), degradation=BlurDegradation(bank=8))
    made = objective.damaged(b)
    found = objective(b, "restore", 0)

    def tv(x):
        return 2 * (x.diff(dim=2).square().mean() + x.diff(dim=3).square().mean())

    from restore.losses.ssim import ssim_loss

    small = F.interpolate(b.clean, (24, 24), mode="bilinear", align_corners=False)
    picture = sum(
        0.4 * (x - y).abs().mean() + 0.2 * (x - y).square().mean() + 0.2 * ssim_loss(x, y) + 0.2 * tv(x)
        for x, y in ((half, small), (full, b.clean))
    )
    expected = {
        "picture": picture,
        "blurred": 0.5
        * (
            0.5 * (blurred - made.targets["blurred"]).abs().mean()
            + 0.3 * (blurred - made.targets["blurred"]).square().mean()
            + 0.2 * tv(blurred)
        ),
        "closed_loop": 0.5
        * (convolve(full, otf(made.conditions["psf"], (48, 48))) - made.targets["blurred"]).abs().mean(),
    }
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-4), name
    assert float(found["loss"]) == pytest.approx(float(sum(expected.values())), rel=1e-4)


def test_the_network_is_told_psf_and_measured_noise():
    network = Given(Deconvolved([torch.zeros(2, 3, 48, 48)]))
    objective = Deconvolution(network, degradation=BlurDegradation(sigma=(10, 10), clipped=0, bank=8))
    found = objective(batch(), "restore", 0)
    _, psf, level = network.calls[0]
    assert torch.equal(psf, objective.damaged(batch()).conditions["psf"])
    assert level.shape == (2, 1, 1, 1) and torch.allclose(level, torch.full((2, 1, 1, 1), 10 / 255), rtol=0.2)
    assert "blurred" not in found


def test_any_network_learns_from_its_one_picture_with_what_its_spec_names():
    torch.manual_seed(0)
    network, blur = Sharpens(torch.nn.Conv2d(3, 3, 3, padding=1)), BlurDegradation(bank=8)
    objective, b = Deconvolution(network, degradation=blur), batch()
    made = objective.damaged(b)
    expected = objective.compared(Deconvolved([network(made.inputs["picture"], psf=made.conditions["psf"])]), made)[
        "loss"
    ]
    assert float(objective(b, "restore", 0)["loss"]) == pytest.approx(float(expected), rel=1e-6)
    network.spec = lambda: ModelSpec("deblur", conditions=("time",))
    with pytest.raises(ConfigError, match="Sharpens needs the condition 'time', which this objective has not"):
        Deconvolution(network, degradation=blur)


@pytest.mark.slow
@pytest.mark.parametrize("regime", ["gaussian", "low-light"])
def test_training_lowers_every_part(regime):
    torch.manual_seed(0)
    network = WienerUNet(steps=2, denoise=True, features=4, widths=(16, 24), blocks=(1, 1, 1))
    objective = Deconvolution(network, degradation=BlurDegradation(regime=regime, bank=8))
    optimizer = torch.optim.Adam(network.parameters(), 2e-3)
    seen = []
    for _ in range(200):
        losses = objective(batch(8, 40), "restore", 0)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        seen.append({name: float(value.detach()) for name, value in losses.items()})
    assert seen[-1]["loss"] < 0.7 * seen[0]["loss"]
    assert all(seen[-1][name] < seen[0][name] for name in ("picture", "blurred", "closed_loop"))
