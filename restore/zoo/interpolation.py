"""Two weights of one network, mixed: a network between a faithful one and a sharp one.

    theta = (1 - share) theta_a + share theta_b

Network interpolation of Wang et al., "ESRGAN" (ECCV workshops 2018, section 3.4): it works where one network was
trained from the other, as an adversarial stage from its fidelity stage; between strangers it gives nothing useful.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from restore.errors import ConfigError, WeightsError
from restore.zoo.weights import Loaded, tensors_sha256


def interpolated(a: Loaded, b: Loaded, share: float) -> Loaded:
    """The network of `a` with the weights (1 - share) a + share b; `a` itself at 0 and `b` itself at 1.

    In between it has the path and the card of `a`, a sha256 of its own, and the compute types that both stay
    accurate in.

    Raises:
        ConfigError: the share is outside 0 … 1.
        WeightsError: the two are weights of different networks.
    """
    _check_share(share)
    if type(a.net) is not type(b.net) or _facts(a) != _facts(b):
        raise _different(b, f"they are of {_described(b)}, those of {a.path} of {_described(a)}")
    if share in (0, 1):
        return b if share else a
    net = copy.deepcopy(a.net)
    try:
        state = interpolated_state(a.net.state_dict(), b.net.state_dict(), share)
    except WeightsError as error:
        raise _different(b, error.why) from error
    net.load_state_dict(state)
    dtypes = tuple(dtype for dtype in a.spec.dtypes if dtype in b.spec.dtypes)
    return Loaded(net, replace(a.spec, dtypes=dtypes), a.card, tensors_sha256(state), a.path)


def interpolated_state(a: Mapping[str, Tensor], b: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Tensors (1 - share) a + share b by name, exactly those of `a` at 0 and of `b` at 1, copied.

    What counts (integers, such as the batches a normalisation has seen) is taken from the nearer of the two, of `a`
    at one half.

    Raises:
        ConfigError: the share is outside 0 … 1.
        WeightsError: names or shapes differ.
    """
    _check_share(share)
    names = sorted(a.keys() ^ b.keys()) or [name for name in a if a[name].shape != b[name].shape]
    if names:
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        raise WeightsError("weights of different networks cannot be mixed", why=f"they differ in {shown}")
    mixed = {}
    for name, value in a.items():
        if share in (0, 1) or not value.is_floating_point():
            mixed[name] = (b[name] if share > 0.5 else value).clone()
        else:
            mixed[name] = value.lerp(b[name].to(value.dtype), share)
    return mixed


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ConfigError(
            f"a share of {share:g} lies outside 0 … 1", fix="Give 0 for the first network, 1 for the other"
        )


def _facts(loaded: Loaded) -> object:
    """What the network is, without the compute types, which are a matter of its weights."""
    return replace(loaded.spec, dtypes=())


def _described(loaded: Loaded) -> str:
    return f"a {type(loaded.net).__name__} of {loaded.spec.parameters:,} parameters for {loaded.spec.task}"


def _different(loaded: Loaded, why: str) -> WeightsError:
    fix = "Mix weights that were trained one from the other"
    return WeightsError("weights of different networks cannot be mixed", where=loaded.path, why=why, fix=fix)
