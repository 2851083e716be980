"""The weights that a training begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from restore.errors import WeightsError
from restore.training.settings import ModelSettings

if TYPE_CHECKING:
    from restore.zoo.card import TrainingRun


def load_initial_weights(network: nn.Module, name: str, model: ModelSettings) -> tuple[TrainingRun, ...]:
    """Put weights into a network that `model` describes, and say what runs they went through (none if unknown).

    A network with a method `take_denoiser` also begins with the weights of a denoiser.

    Args:
        name: of the zoo, or a .safetensors or .pth file.
    Raises:
        WeightsError: there are none, or they are of another network.
    """
    from restore.zoo.resolver import resolve
    from restore.zoo.weights import label_of, read_network

    path = resolve(name)
    take = getattr(network, "take_denoiser", None)
    label = label_of(path) if path.suffix == ".safetensors" else None
    denoises = label is not None and label.card.task == "denoise" and label.model != model.name
    if take is not None and denoises:
        loaded = read_network(path)
        try:
            take(loaded.net.state_dict())
        except (RuntimeError, KeyError) as error:
            fix = f"Give a denoiser with the widths and blocks of this {model.name}"
            why = " ".join(str(error).split())[:200]
            raise WeightsError("these weights do not fit into the U-Nets", where=path, why=why, fix=fix) from error
    else:
        loaded = read_network(path, model.name, model.arguments)
        network.load_state_dict(loaded.net.state_dict())
    return loaded.card.all_runs() if loaded.card else ()
