"""Devices and compute types: chosen by what the spec allows and the device gains from."""

import pytest
import torch

from restore.errors import ConfigError
from restore.inference import precision
from restore.inference.precision import available_devices, choose_dtype, gains_from, resolve_device, why_no_gpu
from restore.models.spec import ModelSpec

CPU = torch.device("cpu")
PLAIN, LOW = ModelSpec("toy"), ModelSpec("toy", dtypes=("float32", "bfloat16"))


@pytest.mark.parametrize("has_bf16", [True, False])
@pytest.mark.parametrize("spec", [PLAIN, LOW], ids=["plain", "low"])
def test_auto_is_low_only_where_spec_and_device_agree(monkeypatch, has_bf16, spec):
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: has_bf16)
    monkeypatch.setattr(precision, "_bf16_gain", lambda: 2.0)
    expected = torch.bfloat16 if has_bf16 and spec is LOW else torch.float32
    assert choose_dtype("auto", spec, CPU) is expected


def test_float16_is_never_chosen_unasked(monkeypatch):
    spec = ModelSpec("toy", dtypes=("float32", "float16"))
    assert choose_dtype("auto", spec, CPU) is torch.float32
    assert choose_dtype("fp16", spec, CPU) is torch.float16


def test_a_precision_is_taken_at_its_word_or_refused():
    assert choose_dtype("bf16", LOW, CPU) is torch.bfloat16
    assert choose_dtype("fp32", LOW, CPU) is torch.float32
    with pytest.raises(ConfigError, match="does not stay accurate in bf16"):
        choose_dtype("bf16", PLAIN, CPU)
    with pytest.raises(ConfigError, match=r"unknown precision 'int8'. Use auto, fp32, bf16, fp16"):
        choose_dtype("int8", PLAIN, CPU)


def test_float32_always_pays_and_half_never_on_a_cpu():
    assert gains_from(torch.float32, CPU)
    assert not gains_from(torch.float16, CPU)


def test_a_missing_device_is_refused_with_a_list_of_those_there():
    assert available_devices()[-1] == "cpu"
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type == available_devices()[0]
    for name in ("toaster", "xla", "cuda" if "cuda" not in available_devices() else "mps"):
        with pytest.raises(ConfigError, match=f"there is no device '{name}'.*this machine has .*cpu"):
            resolve_device(name)


def test_the_reason_for_no_gpu_is_one_line():
    reason = why_no_gpu()
    assert (reason == "") == (available_devices()[0] != "cpu")
    assert "\n" not in reason


@pytest.mark.parametrize(("flag", "gain", "pays"), [(True, 1.5, True), (True, 0.6, False), (False, 9.0, False)])
def test_bf16_pays_on_a_cpu_where_it_was_faster_and_not_where_a_flag_says_so(monkeypatch, flag, gain, pays):
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: flag)
    monkeypatch.setattr(precision, "_bf16_gain", lambda: gain)
    assert gains_from(torch.bfloat16, CPU) is pays
