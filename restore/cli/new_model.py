"""`restore new-model`: the files of a new network, ready to be trained, tested and changed."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from restore.cli.console import one_line, put
from restore.cli.flags import HIDE
from restore.cli.options import Flag, reads
from restore.errors import ConfigError, ExitCode, FileError

_MODEL = '''\
"""MyNet: one sentence on the idea.

Paper: title, authors, venue, link. Differences from it: none yet.

Shapes, for C channels and w = width:

    input    B x C x H x W    values in [0, 1]
    inside   B x w x H x W    depth convolutions 3 x 3, ReLU between them
    output   B x C x H x W    the input and a correction
"""

from __future__ import annotations

from torch import Tensor, nn

from restore.models.spec import ModelSpec


class MyNet(nn.Module):
    """B x channels x H x W -> the same."""

    def __init__(self, channels: int = 3, width: int = 32, depth: int = 6) -> None:
        super().__init__()
        self.channels, self.depth = channels, depth
        widths = [channels, *[width] * (depth - 1), channels]
        layers: list[nn.Module] = []
        for before, after in zip(widths, widths[1:]):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.residual(x)

    def residual(self, x: Tensor) -> Tensor:
        """What `forward` adds to the input."""
        return self.layers(x)

    def spec(self) -> ModelSpec:
        """What the network needs and promises; the tiler relies on it, and the test holds it against the network."""
        return ModelSpec(
            task="denoise",
            channels=self.channels,
            residual=True,
            radius=self.depth,  # pixels from an output to the farthest input it depends on
            parameters=sum(p.numel() for p in self.parameters()),
        )
'''

_CONFIG = """\
# restore train my_net.yaml data.train=[photos]
name: my_net
task: denoise
summary: One sentence for people.

model:
  name: my_net.py:MyNet          # the file lies beside this one
  arguments: {width: 32, depth: 6}

objective:
  name: supervised
  losses: {charbonnier: 1.0}

degradation:
  name: noise
  arguments: {weights: {gaussian: 1.0}, sigma: [0, 50]}     # sigma of 255

data: {crop: 64, held_out: 4}
train: {steps: 20000, batch: 16, learning_rate: 1e-3}

evaluation:                      # restore eval my_net.yaml photos --weights runs/my_net/my_net.safetensors
  cases:
    gaussian25: {noise: gaussian, level: 25}
"""

_TEST = '''\
"""Run with: python -m pytest test_my_net.py"""

from pathlib import Path

import torch

from restore.models import build
from restore.models.probe import verify_spec

MODEL = f"{Path(__file__).with_name('my_net.py')}:MyNet"


def test_the_spec_is_true():
    """Sizes, receptive radius, alignment and parameters, by trying."""
    net = build(MODEL)
    verify_spec(net, net.spec())


def test_it_learns():
    """A few steps on one batch bring the output nearer to it."""
    torch.manual_seed(0)
    net = build(MODEL, width=16)
    clean = torch.rand(2, 3, 1, 1).expand(-1, -1, 16, 16)
    noisy = clean + 0.2 * torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    errors = []
    for _ in range(150):
        error = (net(noisy) - clean).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.5 * errors[0]
'''

TEMPLATES = {"{}.py": _MODEL, "{}.yaml": _CONFIG, "test_{}.py": _TEST}


@dataclass(frozen=True)
class NewModel:
    """Write the files of a new network of your own: model, config and test."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="NAME", help_behavior_hint="")] = ()
    """What it is called, in small letters: my_net."""
    out: Annotated[Path, reads("FOLDER", Path), HIDE] = Path()
    """Where; here by default."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        if len(self.paths) != 1:
            raise ConfigError("restore new-model takes one name", fix="For example: restore new-model my_net")
        (name,) = self.paths
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
            fix = "Use small letters, digits and _, a letter first: my_net"
            why = "Python reserves this word" if keyword.iskeyword(name) else ""
            raise ConfigError(f"a model cannot be called {name!r}", why=why, fix=fix)
        if importlib.util.find_spec(name) is not None:
            why = f"Python would import your {name}.py in place of the package of that name"
            raise ConfigError(f"a model cannot be called {name!r}", why=why, fix=f"For example: my_{name}")
        files = {self.out / template.format(name): text for template, text in TEMPLATES.items()}
        for path in files:
            if path.exists():
                raise FileError("there is such a file already", where=path, fix="Choose another name or --out")
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            for path, text in files.items():
                path.write_text(filled(text, name), encoding="utf-8")
                put(one_line(path))
        except OSError as error:
            why = error.strerror or str(error)
            raise FileError("cannot write here", where=self.out, why=why, fix="Choose another --out") from error
        config = self.out / f"{name}.yaml"
        put(f"next: restore train {one_line(config)} data.train=[photos] train.budget=10m")
        return ExitCode.OK


def filled(text: str, name: str) -> str:
    """A template with the model's name in place of my_net, its class's in place of MyNet."""
    return text.replace("my_net", name).replace("MyNet", "".join(part.capitalize() for part in name.split("_")))
