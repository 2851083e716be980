"""A pretended "cuda": shapes and devices are those of a GPU, values are not computed. Needs no GPU.

Tensors on "cuda" are torch's fake tensors, tensors on the CPU are real: what the code plans on the host runs as it is,
and a value that is read back from the device raises `DataDependentOutputException`. An operation on both devices fails
as it would on a GPU, and so does a generator of one device that draws on the other.

CUDA generators cannot be made without a driver, and autograd's engine asks the driver for its streams. So within
`pretended_cuda`, `torch.Generator` is `_Generator` (a CPU generator that says it is on "cuda"), and
`torch.autograd.grad` is `gradients`, which walks the graph in Python.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

CUDA = torch.device("cuda", 0)


class _Generator(torch._C.Generator):
    """Draws on the CPU, and says which device it was asked for."""

    def __new__(cls, device: torch.device | str = "cpu") -> _Generator:
        self = super().__new__(cls, device="cpu")
        self._pretended = torch.device(device)
        return self

    @property
    def device(self) -> torch.device:
        return self._pretended


class _PretendedCuda(FakeTensorMode):
    """Fakes what is on "cuda" and runs what is on the CPU."""

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        self._inside = False  # an operation that is made of others, all of which are then pretended

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not (self._inside or _is_on_cuda(args, kwargs)):
            return func(*args, **kwargs)
        before, self._inside = self._inside, True
        try:
            return super().__torch_dispatch__(func, types, args, kwargs)
        finally:
            self._inside = before


def _is_on_cuda(args: Any, kwargs: Any) -> bool:
    device = kwargs.get("device")
    asked = device is not None and torch.device(device).type == "cuda"
    return asked or any(isinstance(each, FakeTensor) for each in tree_leaves((args, kwargs)))


class _OwnGenerators(TorchFunctionMode):
    """Refuses a generator of another device than what it draws."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        generator = (kwargs or {}).get("generator")
        if generator is not None and generator.device.type != result.device.type:
            raise RuntimeError(f"{func.__name__}: a generator on {generator.device} draws on {result.device}")
        return result


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """Everything on `CUDA` is pretended within; caches of this program that hold tensors are emptied around it."""
    _clear_caches()
    try:
        with (
            mock.patch.object(torch, "Generator", _Generator),
            mock.patch.object(torch.autograd, "grad", gradients),
            _PretendedCuda(),
            _OwnGenerators(),
        ):
            yield
    finally:
        _clear_caches()


def moved(module: nn.Module) -> nn.Module:
    """A module with all its parameters and buffers on `CUDA`, in place (`Module.to` does not take fake tensors)."""
    for each in module.modules():
        for name, value in each._parameters.items():
            if value is not None:
                each._parameters[name] = nn.Parameter(value.detach().to(CUDA), requires_grad=value.requires_grad)
        for name, value in each._buffers.items():
            if value is not None:
                each._buffers[name] = value.to(CUDA)
    return module


def gradients(
    output: Tensor, inputs: Tensor | Sequence[Tensor], *, create_graph: bool = False
) -> tuple[Tensor | None, ...]:
    """`torch.autograd.grad` of the sum of `output`, without the engine; None for inputs that it does not depend on.

    Raises `RuntimeError` where a gradient is on another device than its tensor.
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if output.grad_fn is None:
        raise RuntimeError("the output does not depend on anything that needs a gradient")
    arrived: dict[Any, dict[int, Tensor]] = {output.grad_fn: {output.output_nr: torch.ones_like(output)}}
    with torch.set_grad_enabled(create_graph):
        for node in _from_output_on(output.grad_fn):
            _check_devices(node, arrived.get(node, {}))
            if node not in arrived or hasattr(node, "variable"):  # no gradient came here, or a leaf
                continue
            given = [arrived[node].get(place) for place in range(len(node._input_metadata))]
            made = node(*given)
            for (following, place), value in zip(
                node.next_functions, made if isinstance(made, tuple) else (made,), strict=True
            ):
                if following is not None and value is not None:
                    known, wanted = arrived.setdefault(following, {}), following._input_metadata[place]
                    value = value.sum_to_size(tuple(wanted.shape)).to(wanted.dtype)
                    known[place] = known[place] + value if place in known else value
    return tuple(_arrived_at(each, arrived) for each in inputs)


def _from_output_on(root: Any) -> list[Any]:
    """Nodes of a graph, each before those that its gradients go to."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(following, False) for following, _ in node.next_functions if following is not None]
    return order[::-1]


def _check_devices(node: Any, values: dict[int, Tensor]) -> None:
    for place, value in values.items():
        wanted = node.variable.device if hasattr(node, "variable") else node._input_metadata[place].device
        if value.device.type != wanted.type:
            raise RuntimeError(f"{node.name()}: a gradient on {value.device} for a tensor on {wanted}")


def _arrived_at(leaf: Tensor, arrived: dict[Any, dict[int, Tensor]]) -> Tensor | None:
    if leaf.grad_fn is not None:
        return arrived.get(leaf.grad_fn, {}).get(leaf.output_nr)
    found = (values[0] for node, values in arrived.items() if getattr(node, "variable", None) is leaf)
    return next(found, None)


def _clear_caches() -> None:
    for name, module in list(sys.modules.items()):
        if name.startswith("restore."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
