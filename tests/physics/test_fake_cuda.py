"""Every operator of `restore.physics` once on a pretended "cuda": its result is there, and so are its gradients."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Protocol

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorDeviceMismatchError
from torch.utils._pytree import tree_leaves

import restore.physics
from restore.physics import (
    batch,
    blur_field,
    blur_kernels,
    blurred_noise,
    camera,
    camera_blur,
    clip_blur,
    color,
    filters,
    fourier,
    frame_average,
    jpeg,
    level,
    low_light,
    noise,
    noise_mixture,
    noise_reduction,
    operators,
    random,
    random_blur,
    real_world,
    reflection,
    resample,
    shake,
)  # fmt: skip
from tests.fake_cuda import CUDA, gradients, pretended_cuda


@dataclass
class Inputs:
    """Tensors on `CUDA` that an operator is given."""

    made: list[Tensor] = field(default_factory=list)

    def __call__(self, *shape: int) -> Tensor:
        self.made.append(torch.rand(*shape, device=CUDA).requires_grad_())
        return self.made[-1]

    def plain(self, *shape: int) -> Tensor:
        return torch.rand(*shape, device=CUDA)

    def complex(self, *shape: int) -> Tensor:
        return torch.complex(self(*shape), self(*shape))

    def generators(self, count: int) -> list[torch.Generator]:
        return [torch.Generator(CUDA) for _ in range(count)]

    def generator(self) -> torch.Generator:
        return torch.Generator(CUDA)

    def camera(self, count: int) -> camera.Camera:
        return camera.Camera(*(self(count) for _ in camera.Camera._fields))

    def sensor(self, count: int) -> low_light.Sensor:
        return low_light.Sensor(*(self(count) for _ in low_light.Sensor._fields))


def both(blur_: Any, x: Tensor) -> Tensor:
    return blur_.adjoint(blur_.forward(x))


def mixture(**options: Any) -> noise_mixture.NoiseRecipe:
    return noise_mixture.NoiseRecipe(dict.fromkeys(noise_mixture.KINDS, 1.0), jpeg=0.5, clipped=0.5, **options)


def planned(count: int) -> noise.NoisePlan:
    return noise_mixture.plan_noise(mixture(), [torch.Generator().manual_seed(i) for i in range(count)])


def wild(item: int) -> real_world.RealWorldPlan:
    return real_world.plan_real_world(real_world.RealWorldRecipe(), torch.Generator().manual_seed(item))


def _host_generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(count)]


def curve_of(cuda: Inputs) -> Tensor:
    return cuda(2, level.KNOTS)


DIFFERENTIABLE: dict[str, Callable[[Inputs], Any]] = {
    "batch.per_sample": lambda cuda: batch.per_sample(cuda(4)),
    "batch.crop_or_pad": lambda cuda: batch.crop_or_pad(cuda(2, 3, 20, 17), (16, 21)),
    "blur_field.FieldBlur": lambda cuda: both(
        blur_field.FieldBlur(9 * cuda(2, 2, 20, 17), 0.1 * cuda(2), longest=12.0), cuda(2, 3, 20, 17)
    ),
    "blur_field.PathBlur": lambda cuda: both(
        blur_field.PathBlur(cuda(2, 5, 2), cuda(2, 5), (20, 17)), cuda(2, 3, 20, 17)
    ),
    "blur_field.at_moments": lambda cuda: blur_field.at_moments(cuda(2, 20, 2), 5),
    "blur_field.field_at": lambda cuda: blur_field.field_at(cuda(2, 2, 4, 4), (20, 17)),
    "filters.box_mean": lambda cuda: filters.box_mean(cuda(2, 3, 20, 17), 3),
    "filters.filter_each": lambda cuda: filters.filter_each(cuda(2, 3, 20, 17), cuda(2, 5, 5)),
    "color.to_grey": lambda cuda: color.to_grey(cuda(2, 4, 20, 17)),
    "filters.filter_separably": lambda cuda: filters.filter_separably(cuda(2, 3, 30, 28), cuda(5)),
    "filters.sharpened": lambda cuda: filters.sharpened(cuda(2, 3, 30, 28)),
    "blur_kernels.generalised_kernels": lambda cuda: blur_kernels.generalised_kernels(7, *(cuda(2) for _ in range(4))),
    "blur_kernels.plateau_kernels": lambda cuda: blur_kernels.plateau_kernels(7, *(cuda(2) for _ in range(4))),
    "filters.elliptic_distance": lambda cuda: filters.elliptic_distance(*(cuda(4) for _ in range(5))),
    "filters.elliptic_gaussian": lambda cuda: filters.elliptic_gaussian(*(cuda(4) for _ in range(5))),
    "filters.gaussian_kernels": lambda cuda: filters.gaussian_kernels(cuda(4), cuda(4), cuda(4)),
    "blurred_noise.blurred_noises": lambda cuda: blurred_noise.blurred_noises(cuda(2, 3, 20, 17)),
    "color.linear_to_srgb": lambda cuda: color.linear_to_srgb(cuda(2, 3, 8, 9)),
    "color.srgb_to_linear": lambda cuda: color.srgb_to_linear(cuda(2, 3, 8, 9)),
    "color.to_luma": lambda cuda: color.to_luma(cuda(2, 3, 8, 9)),
    "fourier.convolve": lambda cuda: fourier.convolve(cuda(2, 3, 8, 10), cuda.complex(2, 1, 8, 6)),
    "fourier.correlate": lambda cuda: fourier.correlate(cuda(2, 3, 8, 10), cuda.complex(2, 1, 8, 6)),
    "fourier.data_step": lambda cuda: fourier.data_step(
        cuda(2, 3, 8, 10), cuda(2, 3, 8, 10), cuda.complex(2, 1, 8, 6), cuda(2, 1, 1, 1)
    ),
    "fourier.convolve_reflected": lambda cuda: fourier.convolve_reflected(cuda(2, 3, 16, 18), cuda(7, 5)),
    "fourier.otf": lambda cuda: fourier.otf(cuda(2, 1, 5, 5), (16, 18)).abs(),
    "frame_average.frame_noises": lambda cuda: frame_average.frame_noises(cuda(2, 3, 3, 20, 17)),
    "level.level_map": lambda cuda: level.level_map(cuda(2, 3, 20, 17), curve_of(cuda)),
    "level.noise_curve": lambda cuda: level.noise_curve(cuda(2, 3, 20, 17), cuda(2, 3, 20, 17)),
    "low_light.add_low_light": lambda cuda: low_light.add_low_light(
        cuda(2, 3, 20, 17), cuda.sensor(2), cuda.generator()
    ),
    "low_light.clip_lights": lambda cuda: low_light.clip_lights(cuda(2, 3, 20, 17)),
    "noise.add_correlated": lambda cuda: noise.add_correlated(
        cuda(2, 3, 20, 17), cuda(2), cuda.generators(2), cuda(2, 7, 7), cuda(2)
    ),
    "noise.add_developed": lambda cuda: noise.add_developed(
        cuda(2, 3, 20, 17), cuda(2), cuda.generators(2), cuda(2, 7, 7), cuda(2, 7, 7), cuda(2), cuda(2)
    ),
    "noise.add_gaussian": lambda cuda: noise.add_gaussian(cuda(2, 3, 20, 17), cuda(2), cuda.generators(2)),
    "noise.add_grain": lambda cuda: noise.add_grain(cuda(2, 3, 20, 17), cuda(2), cuda.generators(2), cuda(2, 7, 7)),
    "noise.add_poisson": lambda cuda: noise.add_poisson(cuda(2, 3, 20, 17), cuda(2), cuda.generators(2)),
    "noise.add_resized": lambda cuda: noise.add_resized(
        cuda(2, 3, 20, 17), cuda(2), cuda.generators(2), cuda(2), cuda(2)
    ),
    "noise.add_salt_pepper": lambda cuda: noise.add_salt_pepper(cuda(2, 3, 20, 17), cuda(2), cuda.generator()),
    "noise.add_speckle": lambda cuda: noise.add_speckle(cuda(2, 3, 20, 17), cuda(2), cuda.generators(2)),
    "noise.quantise": lambda cuda: noise.quantise(cuda(2, 3, 20, 17)),
    "noise_reduction.reduced_noise": lambda cuda: noise_reduction.reduced_noise(
        cuda(2, 3, 20, 17), cuda(2, 3, 20, 17), cuda(2)
    ),
    "noise_reduction.rolling_off": lambda cuda: noise_reduction.rolling_off(cuda(2), cuda(2), 6),
    "noise_reduction.shrink_details": lambda cuda: noise_reduction.shrink_details(cuda(2, 1, 20, 17), cuda(2)),
    "operators.CircularBlur": lambda cuda: both(
        operators.CircularBlur(cuda(5, 5), cuda(1, 3, 20, 18)), cuda(1, 3, 20, 18)
    ),
    "operators.VaryingBlur": lambda cuda: both(
        operators.VaryingBlur(cuda(4, 5, 5), operators.grid_maps(2, 2), cuda(1, 3, 20, 18), (17, 15)),
        cuda(1, 3, 20, 18),
    ),
    "operators.ZeroBlur": lambda cuda: both(operators.ZeroBlur(cuda(5, 5), cuda(1, 3, 20, 18)), cuda(1, 3, 20, 18)),
    "random.poisson": lambda cuda: random.poisson(cuda(2, 3, 4, 5), cuda.generators(2)),
    "reflection.gaussian_each": lambda cuda: reflection.gaussian_each(
        cuda(2, 3, 20, 17), cuda(2), torch.tensor([2.0, 3.0])
    ),
    "reflection.vignette": lambda cuda: reflection.vignette((20, 17), cuda(2), cuda(2), cuda(2)),
    "reflection.excess": lambda cuda: reflection.excess(2 * cuda(2, 3, 20, 17), (2, 3)),
    "resample.enlarge": lambda cuda: resample.enlarge(cuda(2, 3, 9, 8), 3),
    "resample.enlarge_each": lambda cuda: resample.enlarge_each(
        cuda(2, 3, 20, 17), cuda(2), (cuda(2), cuda(2)), (16, 14)
    ),
    "resample.halve": lambda cuda: resample.halve(cuda(2, 3, 9, 8)),
    "resample.resize": lambda cuda: resample.resize(cuda(2, 3, 9, 8), (4, 11)),
    "resample.resample_axis": lambda cuda: resample.resample_axis(cuda(2, 3, 9, 8), resample.resize_taps(8, 3), -1),
    "resample.pick_cells": lambda cuda: resample.pick_cells(
        cuda(2, 3, 9, 8), resample.draw_cells(2, 9, 8, 2, cuda.generator()), 2
    ),
    "resample.pixel_shuffle_batch": lambda cuda: resample.pixel_shuffle_batch(cuda(8, 3, 4, 5), 2),
    "resample.pixel_unshuffle_batch": lambda cuda: resample.pixel_unshuffle_batch(cuda(2, 3, 8, 10), 2),
    "shake.centred_paths": lambda cuda: shake.centred_paths(cuda(2, 20, 2)),
    "shake.discs": lambda cuda: shake.discs(3 * cuda(2), 9),
    "shake.extents": lambda cuda: shake.extents(cuda(2, 20, 2)),
    "shake.gaussians": lambda cuda: shake.gaussians(cuda(2), 9),
    "shake.lines": lambda cuda: shake.lines(cuda(2), cuda(2)),
    "shake.rasterised": lambda cuda: shake.rasterised(cuda(2, 20, 2), 9),
}
FORWARD_ONLY: dict[str, Callable[[Inputs], Any]] = {  # they draw, round, or work in place
    "random.hashed_field": lambda cuda: random.hashed_field((3, 4, 5), (1, 2), CUDA, 7),
    "batch.constant": lambda cuda: batch.constant((1.0, 2.0), CUDA),
    "random_blur.blur": lambda cuda: [
        random_blur.blur(
            cuda.plain(6, 3, 40, 48), random_blur.BlurRecipe(regime, bank=6), random_blur.draw_bank(6), 0, 1, 0
        )
        for regime in ("gaussian", "low-light")
    ],
    "camera_blur.blur_as_camera": lambda cuda: [
        camera_blur.blur_as_camera(cuda.plain(6, 3, 60, 64), camera_blur.CameraBlurRecipe({kind: 1.0}), 0, 1, 0)
        for kind in camera_blur.KINDS
    ],
    "blur_kernels.sinc_kernels": lambda cuda: blur_kernels.sinc_kernels(7, cuda(2)),
    "blur_kernels.kernel_values": lambda cuda: [
        blur_kernels.kernel_values(blur_kernels.Kernel(kind, 7), CUDA) for kind in (*blur_kernels.KINDS, "sinc")
    ],
    "real_world.damage": lambda cuda: [
        real_world.damage(cuda.plain(1, 3, 24, 32), plan, 4, cuda.generator())
        for plan in (wild(item) for item in range(12))
    ],
    "real_world.degrade_real_world": lambda cuda: real_world.degrade_real_world(
        cuda.plain(6, 3, 24, 32), real_world.RealWorldRecipe(share_clean=0.3), 4, 0, 1, 0
    ),
    "real_world.poisson_noise": lambda cuda: real_world.poisson_noise(cuda.plain(1, 3, 9, 8), cuda.generator()),
    "camera.add_camera": lambda cuda: camera.add_camera(cuda(2, 3, 24, 30), cuda.camera(2), cuda.generators(2)),
    "reflection.draw_mixtures": lambda cuda: list(
        reflection.draw_mixtures(
            cuda.plain(12, 3, 40, 48),
            cuda.plain(12, 3, 40, 48),
            reflection.ReflectionRecipe(dict.fromkeys(reflection.KINDS, 1.0), ghost=0.5),
            0,
            1,
            0,
        )[0]
    ),
    "reflection.mixed": lambda cuda: list(
        reflection.mixed(
            cuda.plain(2, 3, 40, 48),
            cuda.plain(2, 3, 40, 48),
            reflection.plan_reflections(
                reflection.ReflectionRecipe({"zhang": 1.0}, ghost=1.0), _host_generators(2), 40
            ),
        )
    ),
    "clip_blur.blur_as_clip": lambda cuda: list(
        clip_blur.blur_as_clip(cuda.plain(4, 3, 60, 64), clip_blur.ClipBlurRecipe(reach=8, depth=0.5), 0, 1, 0)[:2]
    ),
    "camera_blur.lit": lambda cuda: camera_blur.lit(
        cuda.plain(2, 3, 20, 17), torch.tensor([True, False]).to(CUDA), torch.ones(2)
    ),
    "camera_blur.photographed": lambda cuda: camera_blur.photographed(
        cuda.plain(2, 3, 20, 17),
        torch.tensor([True, False]).to(CUDA),
        cuda.plain(2, 3, 20, 17),
        torch.tensor([0.0, 80.0]),
        (...,),
    ),
    "frame_average.average_frames": lambda cuda: frame_average.average_frames(
        cuda.plain(2, 3, 3, 20, 17), frame_average.FrameAverageRecipe(), 0, 1, 0
    ),
    "fourier.difference_power": lambda cuda: fourier.difference_power((8, 10), cuda(1)),
    "fourier.frequency": lambda cuda: fourier.frequency((8, 10), cuda(1)),
    "fourier.multiplicity": lambda cuda: fourier.multiplicity((8, 10), cuda(1)),
    "jpeg.jpeg": lambda cuda: [
        jpeg.jpeg(cuda.plain(2, channels, 20, 17), 100 * cuda(2), subsampled=subsampled)
        for channels in (1, 3)
        for subsampled in (True, False)
    ],
    "noise_mixture.add_noise": lambda cuda: noise_mixture.add_noise(
        cuda(40, 3, 24, 24), planned(40), cuda.generators(40)
    ),
    "noise_mixture.degrade": lambda cuda: noise_mixture.degrade(cuda.plain(40, 3, 24, 24), mixture(), 0, 1, 0),
    "random.normal": lambda cuda: random.normal((2, 3, 4), cuda.generators(2), CUDA),
    "random.uniform": lambda cuda: random.uniform((2, 3, 4), cuda.generator(), CUDA),
    "resample.draw_cells": lambda cuda: resample.draw_cells(2, 9, 8, 2, cuda.generator()),
    "resample.draw_neighbours": lambda cuda: resample.draw_neighbours(2, 9, 8, cuda.generator()),
}
READS_BACK: dict[str, Callable[[Inputs], Any]] = {
    "blurred_noise.blurred_noise": lambda cuda: blurred_noise.blurred_noise([cuda.plain(3, 20, 17)]),
}
"""Those whose answer is a number on the host."""
ON_THE_HOST = {
    "blur_field.DisplacementBlur", "blur_field.draw_camera_shakes", "blur_field.draw_fields",
    "blur_field.exposure_times", "clip_blur.draw_exposures", "blur_field.sample_count", "shake.draw_paths",
    "blur_kernels.between", "blur_kernels.check_range", "blur_kernels.check_share", "blur_kernels.choice",
    "blur_kernels.draw_kernel", "real_world.plan_real_world", "resample.resize_taps",
    "random_blur.draw_bank", "camera.draw_cameras", "low_light.draw_sensors", "low_light.draw_trajectories",
    "noise_mixture.plan_noise", "reflection.plan_reflections", "filters.gaussian_taps", "dct.dct_matrix",
    "operators.grid_maps", "fourier.fast_size", "random.generator_for", "random.hash_seed", "random.of_samples",
    "psf.described", "psf.disc", "psf.gauss", "psf.motion", "psf.sanitised", "psf.without_background",
}  # fmt: skip
"""They plan: small numbers and PSFs, which others bring to the device."""


def public() -> set[str]:
    """Functions and classes of the room, but for those that only hold data."""
    found = set()
    for info in pkgutil.iter_modules(restore.physics.__path__):
        module = importlib.import_module(f"restore.physics.{info.name}")
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") != module.__name__ or name.startswith("_") or _holds_data(value):
                continue
            if inspect.isclass(value) or callable(value):
                found.add(f"{info.name}.{name}")
    return found


def _holds_data(value: Any) -> bool:
    return inspect.isclass(value) and (is_dataclass(value) or issubclass(value, tuple) or Protocol in value.__bases__)


def test_every_operator_has_an_entry():
    tables = [set(DIFFERENTIABLE), set(FORWARD_ONLY), set(READS_BACK), ON_THE_HOST]
    assert set().union(*tables) == public()
    assert sum(map(len, tables)) == len(public()), "one entry each"


def on_cuda(result: Any) -> list[Tensor]:
    tensors = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
    assert tensors
    assert {each.device for each in tensors} == {CUDA}
    return tensors


@pytest.mark.parametrize("name", sorted(DIFFERENTIABLE))
def test_result_and_gradients_are_on_the_device(name):
    with pretended_cuda():
        inputs = Inputs()
        result = on_cuda(DIFFERENTIABLE[name](inputs))[0]
        found = [each for each in gradients(result.sum(), inputs.made) if each is not None]
    assert found
    assert {each.device for each in found} == {CUDA}


@pytest.mark.parametrize("name", sorted(FORWARD_ONLY))
def test_result_is_on_the_device(name):
    with pretended_cuda():
        on_cuda(FORWARD_ONLY[name](Inputs()))


@pytest.mark.parametrize("name", sorted(READS_BACK))
def test_runs_to_where_its_number_is_read(name):
    with pretended_cuda(), pytest.raises(DataDependentOutputException, match="_local_scalar_dense"):
        READS_BACK[name](Inputs())


MISTAKES: dict[str, tuple[Callable[[Inputs], Any], type[Exception], str]] = {
    "a kernel left on the host": (
        lambda cuda: F.conv2d(cuda(2, 3, 20, 17), torch.rand(3, 3, 5, 5)),
        RuntimeError, "weight is on cpu, different from other tensors on cuda:0",
    ),
    "a level left on the host": (
        lambda cuda: noise.add_gaussian(cuda(2, 3, 20, 17), torch.rand(2), cuda.generators(2)),
        FakeTensorDeviceMismatchError, "at least two devices, cpu and cuda:0",
    ),
    "a generator of the host": (
        lambda cuda: noise.add_gaussian(cuda(2, 3, 20, 17), cuda(2), [torch.Generator(), torch.Generator()]),
        RuntimeError, "a generator on cpu draws on cuda:0",
    ),
    "a generator of the device for the host": (
        lambda cuda: low_light.draw_sensors(2, cuda.generator()),
        RuntimeError, "a generator on cuda:0 draws on cpu",
    ),
    "a decision by what is on the device": (
        lambda cuda: bool(cuda.plain(2).sum() > 0), DataDependentOutputException, "_local_scalar_dense",
    ),
    "a result left on the host": (lambda cuda: on_cuda(cuda(2).cpu()), AssertionError, "cpu"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mix_of_devices_fails(name):
    make, error, text = MISTAKES[name]
    with pretended_cuda(), pytest.raises(error, match=text):
        make(Inputs())


def test_gradients_are_those_of_the_engine():
    """On the CPU, where the engine can be asked."""
    x, kernels = torch.rand(2, 3, 12, 11).requires_grad_(), torch.rand(2, 3, 3).requires_grad_()
    y = (filters.filter_each(x, kernels).relu() * x[..., 1:-1, 1:-1]).square().mean()
    for ours, theirs in zip(gradients(y, [x, kernels]), torch.autograd.grad(y, [x, kernels]), strict=True):
        torch.testing.assert_close(ours, theirs)
