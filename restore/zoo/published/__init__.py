"""Weights as their authors published them: recognised by the names of their tensors, and renamed to ours.

One file a family; each function takes a state_dict as it was read and returns `Published`, or None for what is not
its own. Whether all tensors fit is checked by who loads them, strictly.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from restore.zoo.published.deblur import nafnet
from restore.zoo.published.form import Published
from restore.zoo.published.infwide import infwide
from restore.zoo.published.upscale import rrdb, srresnet, srvgg

_FAMILIES = (infwide, nafnet, rrdb, srresnet, srvgg)


def recognised(state: Mapping[str, Tensor]) -> Published | None:
    """The network behind a state_dict, or None for files that are not known."""
    return next((known for family in _FAMILIES if (known := family(state)) is not None), None)
