"""The weights that a training begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from restore.errors import ConfigError, WeightsError
from restore.training.settings import ModelSettings

if TYPE_CHECKING:
    from restore.zoo.card import TrainingRun


def load_initial_weights(network: nn.Module, name: str, model: ModelSettings) -> tuple[TrainingRun, ...]:
    """Put weights into a network that `model` describes, and say what runs they went through (none if unknown).

    A network with a method `begin_with` also begins with weights of other networks: a denoiser's, another scale's, a
    published file's of fewer outputs.

    Args:
        name: of the zoo, or a .safetensors or .pth file.
    Raises:
        WeightsError: there are none, or they are of another network.
    """
    from restore.zoo.resolver import resolve
    from restore.zoo.weights import read_network

    path = resolve(name)
    begin = getattr(network, "begin_with", None)
    if begin is not None and _of_another(path, model):
        loaded = read_network(path)
        try:
            if begin(loaded.net):
                return loaded.card.all_runs() if loaded.card else ()
        except (RuntimeError, KeyError) as error:
            fix = f"Give weights of a network with the widths and blocks of this {model.name}"
            why = " ".join(str(error).split())[:200]
            raise WeightsError("these weights do not fit into this network", where=path, why=why, fix=fix) from error
    loaded = read_network(path, model.name, model.arguments)
    network.load_state_dict(loaded.net.state_dict())
    return loaded.card.all_runs() if loaded.card else ()


def begin_from(network: nn.Module, trained: nn.Module) -> None:
    """Put the weights of a trained network into one like it, or into one that takes them by `begin_with`.

    Raises `ConfigError` for any other.
    """
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (network, trained)]
    if shapes[0] == shapes[1]:
        network.load_state_dict(trained.state_dict())
        return
    begin = getattr(network, "begin_with", None)
    if begin is None or not begin(trained):
        what = f"a stage's {type(network).__name__} cannot begin with the {type(trained).__name__} of the one before"
        raise ConfigError(what, fix="Leave model.arguments as they are, or give a network that takes such weights")


def _of_another(path: Path, model: ModelSettings) -> bool:
    """Whether a file says that its network is another than `model`, or is a published one, whose arguments it shows."""
    from restore.io.weights_file import read_weights
    from restore.zoo.published import recognised
    from restore.zoo.weights import label_of

    if path.suffix != ".safetensors":
        return recognised(read_weights(path).state) is not None
    label = label_of(path)
    return (label.model, label.arguments) != (model.name, model.arguments)
