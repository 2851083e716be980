"""Files of others: INFWIDE's, by the names that its authors gave."""

from __future__ import annotations

import pytest
import torch

from restore.models.infwide import INFWIDE
from restore.zoo.published import recognised
from restore.zoo.weights import read_network

DOWN, UP = "MergeRefineModule.XRFUnet.XRD", "MergeRefineModule.XRFUnet.XRU"


def block(theirs, ours):
    """A residual block."""
    return {f"{theirs}.body.0.body.0": f"{ours}.conv1", f"{theirs}.body.2.body.0": f"{ours}.conv2"}


def stage(theirs, ours):
    """A convolution and three residual blocks."""
    return {f"{theirs}.0.body.0": f"{ours}.0"} | blocks(theirs, ours, (1, 2, 3))


def blocks(theirs, ours, numbers):
    return {k: v for i in numbers for k, v in block(f"{theirs}.{i}", f"{ours}.{i}").items()}


def names(by_scale):
    """Their name -> ours, of every layer of INFWIDE."""
    actual = stage("FeatModule1.FeatureBlock", "features")
    actual |= {"DenoiseUnet.m_head": "denoise.head", "DenoiseUnet.m_tail": "denoise.tail"}
    levels = [("m_down1", "downs.0"), ("m_down2", "downs.1"), ("m_down3", "downs.2"), ("m_body", "body"),
              ("m_up3", "ups.0"), ("m_up2", "ups.1"), ("m_up1", "ups.2")]  # fmt: skip
    for theirs, ours in levels:
        first = 1 if "up" in theirs else 0
        for i in (first, first + 1):
            for j in (0, 2):
                actual[f"DenoiseUnet.{theirs}.{i}.res.{j}"] = f"denoise.{ours}.{i}.conv{j // 2 + 1}"
        if "body" not in theirs:
            actual[f"DenoiseUnet.{theirs}.{2 - 2 * first}"] = f"denoise.{ours}.{2 - 2 * first}"
    actual |= stage("FSRefineModule.InBlock2.inBlock", "refine.0")
    for theirs, ours in (("encoder_first", "encoder1"), ("encoder_second", "encoder2")):
        actual |= stage(f"FSRefineModule.RefineUnet.{theirs}", f"refine.1.{ours}")
    for theirs, ours in (("decoder_first", "decoder1"), ("decoder_second", "decoder2")):
        actual |= blocks(f"FSRefineModule.RefineUnet.{theirs}", f"refine.1.{ours}", (0, 1, 2))
        actual[f"FSRefineModule.RefineUnet.{theirs}.3.body.0"] = f"refine.1.{ours}.3"
    for i in (0, 1, 2):
        actual |= block(f"FSRefineModule.OutBlock_a.outLayers.{i}", f"refine.{2 + i}")
    actual |= block("FSRefineModule.OutBlock_b.outLayers.0", "refine.5")
    actual |= {f"FSRefineModule.OutBlock_b.outLayers.{i}.body.0": f"refine.{5 + i}" for i in (1, 2)}
    for scale, ours in ((1, "at_half"), (2, "at_full")):
        for branch in (1, 2):
            digits = f"{scale}{branch}" if by_scale else f"{branch}{scale}"
            actual |= stage(f"MergeRefineModule.InBlock{digits}.inBlock", f"merge.{ours}.{branch - 1}")
    for branch in (1, 2):
        actual |= blocks(f"MergeRefineModule.OutBlock_a{branch}.outLayers", f"merge.refine.{branch - 1}", (0, 1, 2))
    actual |= block("MergeRefineModule.OutBlock_b.outLayers.0", "merge.tail.0")
    actual |= {f"MergeRefineModule.OutBlock_b.outLayers.{i}.body.0": f"merge.tail.{i}" for i in (1, 2)}
    for i in (1, 2):
        for theirs, ours, scaled in ((f"{DOWN}{i}", f"down{i}", "conv"), (f"{UP}{i}", f"up{i}", "deconv")):
            for branch, digits in ((0, "12"), (1, "21")):
                for j in (0, 2):
                    actual[f"{theirs}.conv{branch + 1}.{j}.body.0"] = f"merge.unet.{ours}.branches.{branch}.{j}"
                actual[f"{theirs}.{scaled}{digits}.1.body.0"] = f"merge.unet.{ours}.scales.{branch}"
    return actual


@pytest.mark.parametrize("by_scale", [True, False])
def test_infwide_loads_under_its_authors_names(tmp_path, by_scale):
    torch.manual_seed(0)
    net = INFWIDE().eval()
    ours = net.state_dict()
    theirs = {}
    for official, own in names(by_scale).items():
        for kind in ("weight", "bias"):
            if f"{own}.{kind}" in ours:
                theirs[f"{official}.{kind}"] = ours[f"{own}.{kind}"]
    assert len(theirs) == len(ours)
    torch.save({"state_dict": theirs, "config": {"name": "INFWIDE"}}, tmp_path / "model_infwide.pth")
    loaded = read_network(tmp_path / "model_infwide.pth")
    assert loaded.spec.task == "deconv" and loaded.spec.parameters == 15_742_342
    assert all(torch.equal(value, ours[name]) for name, value in loaded.net.state_dict().items())


def test_other_files_are_left_alone():
    assert recognised({"head.weight": torch.zeros(1)}) is None
