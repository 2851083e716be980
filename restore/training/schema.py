"""The JSON schema of a config, for editors."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from restore.tasks import all_tasks, case_class
from restore.training.settings import Settings


def json_schema() -> dict[str, Any]:
    """All settings, and the fields of the evaluation's cases as the config's task has them."""
    schema = TypeAdapter(Settings).json_schema()
    definitions = schema["$defs"]
    budget = definitions["TrainSettings"]["properties"]["budget"]
    budget["anyOf"].append({"type": "string"})  # "2h", as configs say it
    default = schema["properties"]["task"]["default"]
    schema["allOf"] = []
    for name, task in all_tasks().items():
        kind = case_class(task)
        if kind is None:
            continue
        case = TypeAdapter(kind).json_schema()
        definitions |= case.pop("$defs", {})
        definitions[f"{name}_case"] = case | {"additionalProperties": False}
        cases = {"additionalProperties": {"$ref": f"#/$defs/{name}_case"}}
        condition = {"properties": {"task": {"const": name}}} | ({} if name == default else {"required": ["task"]})
        then = {"properties": {"evaluation": {"properties": {"cases": cases}}}}
        schema["allOf"].append({"if": condition, "then": then})
    return schema
