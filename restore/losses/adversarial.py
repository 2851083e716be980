"""Adversarial losses on raw logits C: of real pictures r and fakes f, any shape (patch logits are averaged).

    name          discriminator                               generator
    vanilla       softplus(-C(r)) + softplus(C(f))            softplus(-C(f))      Goodfellow et al., NeurIPS 2014
    lsgan         (C(r) - 1)^2 + C(f)^2                       (C(f) - 1)^2         Mao et al., ICCV 2017
    hinge         relu(1 - C(r)) + relu(1 + C(f))             -C(f)                Lim and Ye 2017; Miyato et al. 2018
    wgan          C(f) - C(r)   (+ gradient_penalty)          -C(f)                Arjovsky et al., ICML 2017
    relativistic  1/2 [softplus(-(C(r) - mC(f)))              the same with r and f swapped
                  + softplus(C(f) - mC(r))]                   Jolicoeur-Martineau, ICLR 2019, as in ESRGAN

softplus(-C) is the binary cross-entropy of a logit with label 1, softplus(C) with label 0 (the generator's vanilla
form is the non-saturating one). m is the mean over the batch of one process. The discriminator's parts are summed,
not halved, but for `relativistic`: at logits 0 vanilla costs it 2 ln 2, relativistic ln 2. Penalties are on the slope
of a picture's mean logit, which the losses are about: that of the sum grows with the number of patches.

No function here has a weight: the weight of the adversarial part belongs to the generator's total alone. Hand
`discriminator_loss` logits of detached fakes, and step the generator with the discriminator's parameters frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from restore.errors import ConfigError, nearest
from restore.losses.pixel import at_least_float32

Form = TypeVar("Form")
GP_WEIGHT = 10.0  # of the gradient penalty (Gulrajani et al., NeurIPS 2017)


def discriminator_loss(kind: str, real: Tensor, fake: Tensor, real_label: float = 1.0) -> Tensor:
    """What the discriminator minimises, from its logits of real and (detached) fake pictures: a scalar.

    Args:
        real_label: of real pictures, for "vanilla" alone: below 1 (0.9) it is never to be sure of them (one-sided label
            smoothing, Salimans et al., NeurIPS 2016).
    Raises:
        ConfigError: an unknown `kind`, or another label for a `kind` without labels.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, fake = at_least_float32(real), at_least_float32(fake)
        loss = _of(kind, _DISCRIMINATOR)(real, fake)
        if real_label == 1:
            return loss
        if kind != "vanilla":
            raise ConfigError(f"the adversarial loss {kind!r} has no labels to smooth", fix="Use vanilla, or label 1")
        return loss + (1 - real_label) * real.mean()  # softplus(r) - softplus(-r) = r


def generator_loss(kind: str, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """What the generator minimises, from the discriminator's logits of its pictures: a scalar.

    Args:
        real: logits of real pictures, which only "relativistic" needs; no gradient flows through them.
    Raises:
        ConfigError: an unknown `kind`, or "relativistic" without `real`.
    """
    with torch.autocast(fake.device.type, enabled=False):
        if kind != "relativistic":
            return _of(kind, _GENERATOR)(at_least_float32(fake))
        if real is None:
            raise ConfigError("the relativistic loss compares with real pictures", fix="Give their logits too")
        return _relativistic(at_least_float32(fake), at_least_float32(real.detach()))


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """WGAN-GP's 10 mean (|grad C| - 1)^2 at random points between real and fake pictures, B x C x H x W: a scalar.

    The norm is over each picture's values. Gulrajani et al., https://arxiv.org/abs/1704.00028

    Args:
        share: of the real picture in each point, uniform in [0, 1]: B x 1 x 1 x 1.
    """
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    slope = (_picture_gradients(discriminator, between).square().sum(1) + 1e-12).sqrt()
    return GP_WEIGHT * (slope - 1).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, gamma: float = 10.0) -> Tensor:
    """gamma/2 mean |grad C|^2 at real pictures, B x C x H x W: a scalar. Mescheder et al., ICML 2018.

    C is the mean of a picture's logits. Where it is taken every n-th step only, multiply it by n.
    """
    gradients = _picture_gradients(discriminator, real.detach().requires_grad_())
    return gamma / 2 * gradients.square().sum(1).mean()


def _picture_gradients(discriminator: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """Gradient of the mean of each picture's logits with respect to it, B x (C H W), to be differentiated again."""
    with torch.autocast(pictures.device.type, enabled=False):
        logits = discriminator(pictures).mean() * len(pictures)
        (gradients,) = torch.autograd.grad(logits, pictures, create_graph=True)
    return gradients.flatten(1)


def _relativistic(towards: Tensor, away: Tensor) -> Tensor:
    """Low where `towards` lies above the mean of `away`, and `away` below the mean of `towards`."""
    return (F.softplus(away.mean() - towards).mean() + F.softplus(away - towards.mean()).mean()) / 2


_DISCRIMINATOR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "vanilla": lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(),
    "lsgan": lambda r, f: (r - 1).square().mean() + f.square().mean(),
    "hinge": lambda r, f: F.relu(1 - r).mean() + F.relu(1 + f).mean(),
    "wgan": lambda r, f: f.mean() - r.mean(),
    "relativistic": _relativistic,
}
_GENERATOR: dict[str, Callable[[Tensor], Tensor]] = {
    "vanilla": lambda f: F.softplus(-f).mean(),
    "lsgan": lambda f: (f - 1).square().mean(),
    "hinge": lambda f: -f.mean(),
    "wgan": lambda f: -f.mean(),
}
ADVERSARIAL = tuple(_DISCRIMINATOR)
"""The kinds there are."""


def _of(kind: str, forms: dict[str, Form]) -> Form:
    if kind not in forms:
        fix = f"{nearest(kind, ADVERSARIAL)}Known: {', '.join(ADVERSARIAL)}"
        raise ConfigError(f"no adversarial loss is called {kind!r}", fix=fix)
    return forms[kind]
