"""The JSON schema of configs: the settings, and the fields of the cases of the config's task."""

from __future__ import annotations

import jsonschema
import pytest

from restore.training.config import find_config, packaged, parse_yaml
from restore.training.schema import json_schema

DISC = {"psf": "disc:4", "noise": 2.55}


def test_the_schema_is_the_settings():
    schema = json_schema()
    assert set(schema["properties"]) == {
        "name", "weights", "begin", "stages", "task", "summary", "model", "objective", "degradation", "data", "train",
        "evaluation",
    }  # fmt: skip
    assert schema["required"] == ["name"]
    train = schema["$defs"]["TrainSettings"]["properties"]
    assert train["precision"]["enum"] == ["auto", "fp32", "bf16"] and train["batch"]["default"] == 16
    jsonschema.validate({"name": "x", "train": {"steps": 5, "budget": "2h"}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"name": "x", "train": {"steps": "many"}}, schema)


@pytest.mark.parametrize("name", packaged())
def test_packaged_configs_are_as_the_schema_says(name):
    jsonschema.validate(parse_yaml(find_config(name).read_text()), json_schema())


@pytest.mark.parametrize(
    ("task", "case", "says"),
    [
        ({"task": "deconv"}, DISC, ""),
        ({"task": "deconv"}, DISC | {"noise": "much"}, "'much' is not of type 'number'"),
        ({"task": "deconv"}, DISC | {"boundary": "open"}, "'open' is not one of ['circular', 'valid']"),
        ({"task": "deconv"}, {"noise": 2.55}, "'psf' is a required property"),
        ({"task": "deconv"}, {"noise": "gaussian", "level": 25}, "'psf' is a required property"),
        ({"task": "denoise"}, {"noise": "gaussian", "level": 25}, ""),
        ({}, {"noise": "gaussian", "level": 25}, ""),
        ({}, DISC, "'psf' was unexpected"),
        ({"task": "of another package"}, {"anything": 1}, ""),
    ],
)
def test_cases_are_those_of_the_task(task, case, says):
    config = {"name": "x", "evaluation": {"cases": {"one": case}}} | task
    errors = [error.message for error in jsonschema.Draft202012Validator(json_schema()).iter_errors(config)]
    assert any(says in message for message in errors) if says else errors == []
