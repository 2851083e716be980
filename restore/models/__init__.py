"""Networks: one file each, built by name from one dict, or by import path from the user's own code.

A model is a plain `nn.Module` whose constructor arguments are typed and serialisable, with

    spec() -> ModelSpec                     all that it needs and promises; nobody reads other attributes
    forward(x, *, conditions) -> Tensor     x: B x (N C) x H x W, its N inputs or frames stacked along the channels;
                                            every condition of the spec by keyword (noise_level, psf);
                                            B x (channels of all outputs) x sH x sW
    residual(x, *, conditions) -> Tensor    (where the spec says `residual`) what `forward` adds to the picture
    output_layer: str                       (where it may have several heads, see `multi_output`) its last convolution

`probe.verify_spec` tries every promise, `spec.spec_of` reads the spec of a network, `blocks` holds what several share.

Importing this package imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from restore.building import made, validated
from restore.errors import ConfigError
from restore.naming import imported

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, str] = {
    "plain_unet": "restore.models.plain_unet:PlainUNet",
    "compact_deblur": "restore.models.compact_deblur:CompactDeblur",
    "compact_sr": "restore.models.compact_sr:CompactSR",
    "srresnet": "restore.models.srresnet:SRResNet",
    "rrdb": "restore.models.rrdb:RRDBNet",
    "srvgg": "restore.models.srvgg:SRVGG",
    "cbsn": "restore.models.cbsn:CBSN",
    "wiener_unet": "restore.models.wiener_unet:WienerUNet",
    "infwide": "restore.models.infwide:INFWIDE",
    "dwdn": "restore.models.dwdn:DWDN",
    "nafnet": "restore.models.nafnet:NAFNet",
    "multi_output": "restore.models.multi_output:MultiOutput",
    "compact_reflection": "restore.models.compact_reflection:CompactReflection",
}


def build(model: str, /, **arguments: Any) -> nn.Module:
    """The network `model`, freshly initialised: a key of `MODELS`, an import path ("my_pkg.my_file:MyNet") or a
    class in a file ("nets/my_net.py:MyNet").

    The arguments are validated and converted by the constructor's type hints ("1e-3" becomes a float).
    Raises `ConfigError` for an unknown model, an unknown argument (naming the nearest) or a wrong value.
    """
    constructor, what = model_class(model), f"model {model!r}"
    return made(what, constructor, validated(what, constructor, arguments))


def model_class(model: str) -> type[nn.Module]:
    """The class behind a name of `MODELS`, an import path or a file ("nets/my_net.py:MyNet").

    Raises `ConfigError` if there is none.
    """
    from torch import nn

    candidate = imported(model, MODELS, "model", "MyNet")
    if not (isinstance(candidate, type) and issubclass(candidate, nn.Module)):
        raise ConfigError(f"{model!r} is not a torch.nn.Module class", fix="Name a class that derives from nn.Module")
    return candidate
