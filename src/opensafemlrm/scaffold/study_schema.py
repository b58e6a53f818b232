"""The JSON Schema of study files, by which editors complete and check them: study.schema.json.

It is made from what reads them, and from the options of the components that come with the package.
Names and options of plugins pass.
"""

from __future__ import annotations

import dataclasses
from importlib.resources import files
from typing import Any, Final

import orjson

from opensafemlrm import registry
from opensafemlrm.registry import ComponentKind, built_in
from opensafemlrm.study_file import StudySpec

NAME: Final = "study.schema.json"
_LISTS: Final = {f"{kind.value}s": kind for kind in ComponentKind}


def text() -> str:
    """Return the schema as it ships with the package."""
    return files(__package__).joinpath(NAME).read_text(encoding="utf-8")


def make() -> str:
    """Return the schema as the code has it now."""
    schema = StudySpec.model_json_schema()
    properties, definitions = schema["properties"], schema["$defs"]
    definitions |= {kind.value: _component(kind) for kind in ComponentKind}
    for key, kind in _LISTS.items():
        properties[key] = {**properties[key], "items": _reference(kind), "minItems": 1}
    properties["models"].pop("default", None)
    properties["judge"] = {**properties["judge"], **_reference(ComponentKind.JUDGE)}
    properties["judge"].pop("default", None)
    properties["judges"].pop("default", None)
    definitions["StopSpec"]["oneOf"] = [{"required": ["half_width"]}, {"required": ["decide"]}]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "A study of OpenSafeMLRM",
        "oneOf": [{"required": ["judge"]}, {"required": ["judges"]}],
        "anyOf": [{"required": ["models"]}, {"required": ["series"]}],
    }
    return orjson.dumps(schema, option=orjson.OPT_INDENT_2).decode() + "\n"


def _reference(kind: ComponentKind) -> dict[str, str]:
    return {"$ref": f"#/$defs/{kind.value}"}


def _component(kind: ComponentKind) -> dict[str, Any]:
    """Return what a study may say of a component: its name, or its name with options."""
    name: dict[str, Any] = {"type": "string", "minLength": 1}
    if kind is not ComponentKind.MODEL:
        name = {"anyOf": [{"enum": sorted(built_in(kind))}, name]}
    mapping = {
        "type": "object",
        "required": [kind.value],
        "properties": {kind.value: name},
        "allOf": [_options(kind, own) for own in sorted(built_in(kind))],
    }
    return {"anyOf": [name, mapping]}


def _options(kind: ComponentKind, name: str) -> dict[str, Any]:
    """Return the options that a mapping of this name may have."""
    fields = [field for field in dataclasses.fields(registry.find(kind, name)) if field.init]
    own: dict[str, Any] = {"const": name}
    if kind is ComponentKind.MODEL:
        own = {"type": "string", "pattern": f"^{name}/"}
        fields = [field for field in fields if field.name != kind.value]
    needed = [field.name for field in fields if _is_needed(field)]
    options = {kind.value: True, **{field.name: True for field in fields}}
    return {
        "if": {"properties": {kind.value: own}, "required": [kind.value]},
        "then": {"properties": options, "additionalProperties": False, "required": needed},
    }


def _is_needed(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing
