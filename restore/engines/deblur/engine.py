"""Taking out a blur that is not known.

A method gives several answers to a tile (`Answers`), and `restore.engines.deblur.answers` makes the outputs of them.
`prepare` finds by the gate whether the picture is sharp already, and then nothing is changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from restore.analysis.value_range import find_scale
from restore.engines.deblur.answers import ABOUT_UNCERTAINTY, Wanted
from restore.engines.deblur.gate import Sharpness, measure_sharpness
from restore.engines.deblur.network import Answers, DeblurNetwork, network_of
from restore.engines.deblur.options import DeblurOptions, NetworkOptions
from restore.inference.engine import Condition, EngineOptions, NotedOutputs, Outputs, Place
from restore.models.spec import ModelSpec
from restore.picture import PictureSource, ValueScale

NONE, NETWORK = "none", "network"
"""What a picture is treated by, the `data` of its condition."""


class DeblurEngine:
    """One of the methods of deblurring.

    Args:
        options: of the method.
        method: "network".

    Raises:
        WeightsError: weights that are not there, or of another task.
        ConfigError: a head that the network does not have, or what takes several heads of one.
    """

    def __init__(self, options: DeblurOptions | None = None, method: str = NETWORK) -> None:
        options = options or NetworkOptions()
        own = options if isinstance(options, NetworkOptions) else NetworkOptions(force=options.force)
        self._method, self._force = method, options.force
        self._network: DeblurNetwork = network_of(own.weights, own.model)
        self._wanted = Wanted(self._network.count, own.head, own.all_heads, bool(own.uncertainty))
        self._wanted.check(f"the network of {self._network.name}")
        self.spec = replace(self._network.spec, task="deblur", residual=False, outputs=self._wanted.outputs)
        self.fingerprint = f"deblur:{method}:{self._network.fingerprint}:{self._wanted}:force={self._force}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> DeblurEngine:
        cast = copy(self)
        cast._network = self._network.cast(dtype, device)
        return cast

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        source = sources["picture"]
        scale = find_scale(source)
        decisions = {}
        if not self._force:
            seen = self._sharpness(source, scale, options.device)
            decisions["sharpness"] = seen.summary
            if seen.is_sharp:
                return self._unchanged(source, decisions)
        decisions = {"method": f"network {self._network.name}{self._wanted.summary}", **decisions}
        if self._wanted.uncertainty:
            decisions["uncertainty"] = ABOUT_UNCERTAINTY
        return Condition(scale, NETWORK, decisions)

    def _sharpness(self, source: PictureSource, scale: ValueScale, device: torch.device) -> Sharpness:
        network = self._network.cast(torch.float32, device)

        @torch.inference_mode()
        def deblurred(x: Tensor) -> Tensor:
            return self._wanted.result(network.answers(x[:, None].to(device)).pictures)

        return measure_sharpness(source, scale, deblurred, self.spec.multiple_of)

    def _unchanged(self, source: PictureSource, decisions: Mapping[str, str]) -> Condition:
        """The condition of a picture that comes back as it was, bit by bit: every depth's own scale is exact."""
        spec = ModelSpec("deblur", outputs=self._wanted.outputs)
        decisions = {"method": "none: the picture is sharp (--force deblurs it)", **decisions}
        return Condition(ValueScale.nominal(source.info), NONE, decisions, spec, cost=NONE)

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """B x 1 x C x H x W unit values -> {"result": B x C x H x W, and what else was asked for}."""
        answers = self._answers(x, condition, places)
        return NotedOutputs(self._wanted.made_of(answers.pictures), answers.notes)

    def _answers(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Answers:
        """B x 1 x C x H x W -> B x K x C x H x W by what was chosen in `prepare`."""
        if condition.data == NONE:
            return Answers(x.expand(-1, self._wanted.count, -1, -1, -1))
        return self._network.answers(x)
