"""Taking a picture apart into the scene behind a pane of glass and what is reflected in it.

    L = losses(T)
      + w_r |R - R*| + w_g TV(R - R*)          what the glass adds
      + w_s |T + R + F - B|                    the three layers are the picture: F is what clipping and dimming leave
      + w_x exclusion(T, R)                    an edge belongs to one layer
      + w_c BCE(confidence, |grad R*| > |grad T*|)     a pretext that is learned before T is

Source of the parts: specs of Zhang et al., CVPR 2018 (exclusion), DSRNet (Hu, Guo, ICCV 2023; the sum of three layers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from restore.degradations.degradation import Degradation, Sample
from restore.degradations.reflection import ReflectionDegradation
from restore.errors import ConfigError
from restore.losses.backbones import load_features
from restore.losses.layers_apart import dominance, exclusion_loss, log_mse_loss
from restore.losses.pixel import charbonnier_loss, gradient_loss, l1_loss
from restore.models.compact_reflection import FrozenStages
from restore.objectives.supervised import Supervised

Loss = Callable[[Tensor, Tensor], Tensor]
_OUTPUTS = ("result", "reflection", "residual", "confidence")


class ReflectionRemoval(Supervised):
    """One network of four outputs (result, reflection, residual, confidence), one phase ("restore").

    Args:
        network: what its spec says.
        losses: of the result, name -> (weight, loss(output, target)); by default Charbonnier 1, gradient 0.5 and
            log_mse 0.1.
        degradation: how two pictures become one; by default `ReflectionDegradation`.
        reflection: weight of the L1 of R; half of it is that of its gradients'.
        reconstruction: weight of the L1 of T + R + F - B.
        exclusion: weight of what T and R share.
        confidence: weight of the binary cross entropy of where the reflection dominates.
        stages: file of the network's frozen stages, if it has some; "": the installed package's; "random": random.

    Raises `ConfigError` for a network of other outputs, or negative weights.
    """

    def __init__(
        self,
        network: nn.Module,
        losses: Mapping[str, tuple[float, Loss]] | None = None,
        degradation: Degradation | None = None,
        *,
        reflection: float = 0.5,
        reconstruction: float = 0.2,
        exclusion: float = 0.0,
        confidence: float = 0.05,
        stages: str = "",
    ) -> None:
        losses = losses or {
            "charbonnier": (1.0, charbonnier_loss), "gradient": (0.5, gradient_loss), "log_mse": (0.1, log_mse_loss)
        }  # fmt: skip
        super().__init__(network, losses, degradation or ReflectionDegradation())
        names = tuple(output.name for output in self.spec.outputs)
        if names != _OUTPUTS:
            what = f"the network gives {', '.join(names)}"
            raise ConfigError(what, fix=f"This objective learns {', '.join(_OUTPUTS)}")
        frozen = getattr(network, "stages", None)
        if isinstance(frozen, FrozenStages):
            frozen.load(load_features("efficientnet_lite0", weights=stages, needed_by="the embedding"))
        self.weights = {"reflection": reflection, "reconstruction": reconstruction, "exclusion": exclusion,
                        "confidence": confidence}  # fmt: skip
        if min(self.weights.values()) < 0:
            raise ConfigError(f"the weights of the losses are {self.weights}", fix="Give numbers of 0 or more")

    def compared(self, outputs: Mapping[str, Tensor], sample: Sample) -> tuple[Tensor, dict[str, Tensor]]:
        """(weighted sum, each loss by name)."""
        total, parts = super().compared({"result": outputs["result"]}, sample)
        result, reflection = outputs["result"], outputs["reflection"]
        truth = sample.targets["reflection"]
        picture = sample.inputs[self.spec.inputs[0]]
        own = {"reflection": l1_loss(reflection, truth) + 0.5 * gradient_loss(reflection, truth)}
        if self.weights["reconstruction"]:
            own["reconstruction"] = l1_loss(result + reflection + outputs["residual"], picture)
        if self.weights["exclusion"]:
            own["exclusion"] = exclusion_loss(result, reflection)
        if self.weights["confidence"]:
            own["confidence"] = _cross_entropy(outputs["confidence"], dominance(sample.targets["result"], truth))
        total = total + torch.stack([self.weights[name] * part for name, part in own.items()]).sum()
        return total, parts | own


def _cross_entropy(share: Tensor, truth: Tensor) -> Tensor:
    with torch.autocast(share.device.type, enabled=False):
        return F.binary_cross_entropy(share.float().clamp(1e-4, 1 - 1e-4), truth.float())
