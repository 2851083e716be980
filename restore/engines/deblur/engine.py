"""Taking out a blur that is not known.

A method gives several answers to a tile (`Answers`), and `restore.engines.deblur.answers` makes the outputs of them.
`prepare` finds whether there is anything to take out, and by what: candidate PSFs (`by_psf`), or a network at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from restore.analysis.sample import View, sample_crops
from restore.analysis.sharpness import edge_softness
from restore.analysis.value_range import find_scale
from restore.engines.blind_psf.appraisal import solve
from restore.engines.blind_psf.candidates import SIDE
from restore.engines.blind_psf.fitted import digest
from restore.engines.blind_psf.search import LEAST_GAIN, MOST_OTHERS, Judged, Solution, judge_blur
from restore.engines.deblur.answers import ABOUT_UNCERTAINTY, Wanted
from restore.engines.deblur.by_psf import take_out
from restore.engines.deblur.gate import STEEP, Sharpness, measure_sharpness
from restore.engines.deblur.network import SHIPPED, Answers, DeblurNetwork, network_of
from restore.engines.deblur.options import DeblurOptions, NetworkOptions
from restore.inference.engine import Condition, EngineOptions, NotedOutputs, Outputs, Place
from restore.models.spec import ModelSpec
from restore.picture import PictureSource, ValueScale
from restore.zoo.resolver import available

NONE, NETWORK, PSF, MEASURED = "none", "network", "psf", "measured"
SHARP_ALREADY = "the picture is sharp (--force deblurs it)"
WITHOUT_EDGES = "the picture has no edges (--force tries)"
NOTHING_FOUND = "no blur is worth taking out (--force takes out the likeliest)"
TOO_SMALL = "the picture is too small to find its blur"
_ANSWERS = 1 + MOST_OTHERS  # by PSFs
_FORCED = -100.0  # dB, what must be expected of a PSF with --force


class DeblurEngine:
    """One of the methods of deblurring.

    Args:
        options: of the method.
        method: "network", "psf", or "measured": for each picture a PSF where one is expected to gain enough, else the
            network, where the picture is not sharp already.

    Raises:
        WeightsError: weights that are not there, or of another task.
        ConfigError: a head that the method does not have, or what takes several heads of one.
    """

    def __init__(self, options: DeblurOptions | None = None, method: str = NETWORK) -> None:
        options = options or NetworkOptions()
        own = options if isinstance(options, NetworkOptions) else NetworkOptions()
        self._method, self._force = method, options.force
        self._network: DeblurNetwork | None = None
        if method == NETWORK or (method == MEASURED and SHIPPED in available()):
            self._network = network_of(own.weights, own.model)
        count = self._network.count if self._network else _ANSWERS
        self._wanted = Wanted(count, options.head, options.all_heads, bool(options.uncertainty))
        name = f"the network of {self._network.name}" if self._network and method == NETWORK else f"--method {method}"
        self._wanted.check(name, "their mean" if method == NETWORK else "the best")
        tiled = ModelSpec("deblur", tiling="local", overlap=2 * SIDE + 64)
        spec = self._network.spec if self._network and method == NETWORK else tiled
        self.spec = replace(spec, task="deblur", residual=False, outputs=self._wanted.outputs)
        weights = self._network.fingerprint if self._network else ""
        weights += "" if method == NETWORK else f"+psf:{digest()}"
        self.fingerprint = f"deblur:{method}:{weights}:{self._wanted}:force={self._force}"

    def cast(self, dtype: torch.dtype, device: torch.device) -> DeblurEngine:
        cast = copy(self)
        cast._network = self._network.cast(dtype, device) if self._network else None
        return cast

    def prepare(self, sources: Mapping[str, PictureSource], options: EngineOptions) -> Condition:
        source = sources["picture"]
        scale = find_scale(source)
        if self._method == NETWORK:
            return self._by_network(source, scale, options.device)
        softness = edge_softness(sample_crops(source, scale))
        if not self._force and softness is not None and softness <= STEEP:
            return self._unchanged(
                source, SHARP_ALREADY, {"sharpness": f"edge softness {softness:.2f} (sharp to {STEEP})"}
            )
        least = _FORCED if self._force and self._method == PSF else LEAST_GAIN
        judged = judge_blur(View(source, scale), least=least, progress=options.progress)
        if judged.solution is not None:
            decisions = {"method": "psf: hyper-laplacian in linear light", "blur": judged.summary}
            return self._condition(scale, judged.solution, decisions)
        if self._method == MEASURED and self._network is not None:
            return self._by_network(source, scale, options.device, {"blur": judged.summary})
        edges = "no edges" if softness is None else f"edge softness {softness:.2f}"
        return self._unchanged(source, _why_not(judged), {"blur": f"{judged.summary}; {edges}"})

    @torch.inference_mode()
    def _deblurred(self, x: Tensor, device: torch.device) -> Tensor:
        """A piece 1 x C x h x w by the network, in float32: the mean of its heads, whichever is asked for."""
        if self._network is None:
            return x
        network = self._network.cast(torch.float32, device)
        step = network.spec.multiple_of
        height, width = x.shape[-2:]
        padded = torch.nn.functional.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        alike = padded[:, None].expand(-1, network.spec.window, -1, -1, -1)  # as of a scene that does not move
        answers = network.answers(alike.to(device)).pictures
        return answers.mean(1)[..., :height, :width].to(x.device)

    def _by_network(
        self, source: PictureSource, scale: ValueScale, device: torch.device, before: Mapping[str, str] | None = None
    ) -> Condition:
        decisions = dict(before or {})
        if self._network is None:
            return self._unchanged(source, NOTHING_FOUND, decisions)
        if not self._force:
            seen = self._sharpness(source, scale, device)
            decisions["sharpness"] = seen.summary
            if seen.is_sharp or seen.softness is None:
                return self._unchanged(source, SHARP_ALREADY if seen.is_sharp else WITHOUT_EDGES, decisions)
        decisions = {"method": f"network {self._network.name}{self._wanted.summary}", **decisions}
        return self._condition(scale, NETWORK, decisions, self._network.spec)

    def _sharpness(self, source: PictureSource, scale: ValueScale, device: torch.device) -> Sharpness:
        return measure_sharpness(source, scale, lambda x: self._deblurred(x, device), self.spec.multiple_of)

    def _condition(
        self, scale: ValueScale, data: str | Solution, decisions: dict[str, str], spec: ModelSpec | None = None
    ) -> Condition:
        if self._wanted.uncertainty:
            decisions["uncertainty"] = ABOUT_UNCERTAINTY
        if spec is not None:
            spec = replace(spec, task="deblur", residual=False, outputs=self._wanted.outputs)
        cost = data if isinstance(data, str) else f"{len(data.psfs)} PSFs"
        return Condition(scale, data, decisions, spec, cost=cost)

    def _unchanged(self, source: PictureSource, why: str, decisions: Mapping[str, str]) -> Condition:
        """The condition of a picture that comes back as it was, bit by bit: every depth's own scale is exact."""
        spec = ModelSpec("deblur", window=self.spec.window, outputs=self._wanted.outputs)
        decisions = {"method": f"none: {why}", **decisions}
        if self._wanted.uncertainty:
            decisions["uncertainty"] = ABOUT_UNCERTAINTY
        return Condition(ValueScale.nominal(source.info), NONE, decisions, spec, cost=NONE)

    def __call__(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Outputs:
        """B x T x C x H x W unit values -> {"result": B x C x H x W, and what else was asked for}."""
        answers = self._answers(x, condition, places)
        return NotedOutputs(self._wanted.made_of(answers.pictures, answers.ranked), answers.notes)

    def _answers(self, x: Tensor, condition: Condition, places: Sequence[Place]) -> Answers:
        """B x T x C x H x W -> B x K x C x H x W by what was chosen in `prepare`."""
        if isinstance(condition.data, Solution):
            pictures = [self._by_psfs(tile, condition.data, place) for tile, place in zip(x, places, strict=True)]
            return Answers(torch.stack(pictures), ranked=True)
        if condition.data == NONE or self._network is None:
            middle = x[:, x.shape[1] // 2, None]
            return Answers(middle.expand(-1, self._wanted.count, -1, -1, -1), ranked=True)
        return self._network.answers(x)

    def _by_psfs(self, x: Tensor, solution: Solution, place: Place) -> Tensor:
        """A tile 1 x C x H x W -> K x C x H x W: the solution, then other PSFs alone, as far as they are asked for."""
        wanted = self._wanted
        head = wanted.head or 1
        pictures = [take_out(x, solution, place)]
        for i in range(1, wanted.count):
            other = solution.others[i - 1] if i <= len(solution.others) else None
            asked = other is not None and (wanted.several or head == i + 1)
            pictures.append(solve(x, other) if asked and other is not None else pictures[0])
        return torch.cat(pictures)


def _why_not(judged: Judged) -> str:
    return TOO_SMALL if judged.too_small else NOTHING_FOUND
