"""YAML from people one does not know: as version 1.2 has it, safe, and no larger than a config may be.

`1e-3` is a number and `off` a word (PyYAML, which follows 1.1, takes them for a word and for False). A key given twice
is an error that names it. What aliases expand to is counted before anything is made of it.
"""

from __future__ import annotations

import re
import typing
from pathlib import Path
from typing import Any

import yaml

from restore.errors import ConfigError
from restore.io.regular_file import foreign_errors, read_regular

MAX_BYTES, MAX_DEPTH = 1 << 18, 50
"""Of a config: bytes, also with every alias replaced by what it stands for; values inside values."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2's core schema, that refuses what is too deep, expands to too much, refers
    to itself, or has a key twice."""

    yaml_implicit_resolvers: typing.ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _too_deep()
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _expanded(node, {})[0] > MAX_BYTES:
            why = f"{MAX_BYTES:,} bytes are the most"
            raise ConfigError("its aliases stand for more than a config holds", why=why, fix="Write the values out")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        values = [self.construct_object(key, deep=True) for key, _ in node.value]
        seen = set()
        for key in (key for key in values if not isinstance(key, list | dict)):
            if key in seen:
                raise ConfigError(f"the key {key!r} is given twice (line {node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep)


_BOOL = re.compile(r"(true|True|TRUE|false|False|FALSE)$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("tTfF"))


def read_yaml(path: Path) -> Any:
    """What a file of YAML holds. Raises `ConfigError` naming it."""
    data = read_regular(path, MAX_BYTES, refusal=ConfigError, fix="Name a config, a text file of settings in YAML")
    with foreign_errors(path, "this is no text in UTF-8", ConfigError, "Save it as UTF-8"):
        text = data.decode("utf-8-sig")
    return parse_yaml(text, path)


def parse_yaml(text: str, where: str | Path | None = None) -> Any:
    """Raises `ConfigError` with the line of a mistake.

    Args:
        where: it comes from, for the error: a file, or the setting that a word of the command line changes.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError("this is too long", where=where, why=f"{MAX_BYTES:,} bytes are the most", fix="Shorten it")
    with foreign_errors(where, "this is not YAML", ConfigError, "Check its brackets, quotes and indents"):
        return yaml.load(text, _Loader)


def _expanded(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """(characters that a node stands for, values inside values), each node looked at once.

    Args:
        known: results by the nodes' ids; None for those that are being looked at.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1 + len(node.value), 1
    if id(node) in known:
        result = known[id(node)]
        if result is None:
            what = f"an alias stands for what it is part of (line {node.start_mark.line + 1})"
            raise ConfigError(what, fix="Write the values out")
        return result
    known[id(node)] = None
    parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in node.value for part in pair]
    inner = [_expanded(part, known) for part in parts]
    size, depth = 1 + sum(size for size, _ in inner), 1 + max((depth for _, depth in inner), default=0)
    if depth > MAX_DEPTH:
        raise _too_deep()
    known[id(node)] = size, depth
    return size, depth


def _too_deep() -> ConfigError:
    return ConfigError(f"values lie inside values more than {MAX_DEPTH} deep", fix="Write the settings flat")
