"""A study file and the plan it stands for.

The file is YAML. It is checked whole before anything runs: every error names the file, the line
and the key, and every name is resolved through the registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from opensafemlrm import registry
from opensafemlrm.errors import BuildError, StudyError, UnknownNameError
from opensafemlrm.models import catalog
from opensafemlrm.registry import ComponentKind
from opensafemlrm.text import without_credentials
from opensafemlrm.types import (
    Attack,
    Dataset,
    Defense,
    Judge,
    Model,
    Sampling,
    Search,
    identity_of,
    label_of,
)

Spec = str | dict[str, Any]
_Specs = Annotated[list[Spec], Field(min_length=1)]
_Path = tuple[str | int, ...]


class SamplingSpec(BaseModel):
    """The key ``sampling``."""

    model_config = ConfigDict(extra="forbid")
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(4096, ge=1)
    seed: int | None = 0
    top_p: float | None = Field(None, gt=0, le=1)
    repeats: int = Field(1, ge=1)


class StudyFile(BaseModel):
    """The keys of a study file."""

    model_config = ConfigDict(extra="forbid")
    models: _Specs
    pairs: list[tuple[str, str]] | Literal["auto"] = []
    datasets: _Specs
    attacks: _Specs = ["direct"]
    defenses: _Specs = ["none"]
    judge: Spec
    sampling: SamplingSpec = SamplingSpec()
    limit: int | None = Field(None, ge=1)


@dataclass(frozen=True, slots=True)
class Study:
    """A study whose every name is resolved."""

    text: str
    """The file as it was read."""
    models: tuple[Model, ...]
    pairs: tuple[tuple[Model, Model], ...]
    datasets: tuple[Dataset, ...]
    attacks: tuple[Attack | Search, ...]
    defenses: tuple[Defense, ...]
    judge: Judge
    sampling: Sampling
    repeats: int = 1
    limit: int | None = None


def load(path: Path) -> Study:
    """Read and resolve a study file. Raises StudyError with file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: the study file cannot be read: {error}") from error
    return parse(text, str(path))


def parse(text: str, name: str = "study") -> Study:
    """Resolve the text of a study file; ``name`` stands for it in errors."""
    data, lines = _read_yaml(text, name)

    def fail(path: _Path, message: str) -> StudyError:
        key = ".".join(str(step) for step in path) or "the file"
        message = without_credentials(message)
        return StudyError(f"{name}, line {_line(lines, path)}, {key}: {message}")

    try:
        file = StudyFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = _place_of(first["loc"], data)
        raise fail(place, _explain(first)) from error
    try:
        return _resolve(file, text)
    except _SpecError as error:
        raise fail(error.path, str(error)) from error


def parse_judge(text: str) -> Judge:
    """Build a judge from what a study file would say of it: a name, or ``{judge: NAME, …}``.

    Raises StudyError, as :func:`parse` does.
    """
    try:
        spec = yaml.safe_load(text)
        judge: Judge = _build(ComponentKind.JUDGE, spec, ())
    except yaml.YAMLError as error:
        raise StudyError(without_credentials(f"the judge {text!r} is not valid YAML")) from error
    except _SpecError as error:
        where = ".".join(str(step) for step in error.path)
        message = f"the judge{f', {where}' if where else ''}: {error}"
        raise StudyError(without_credentials(message)) from error
    return judge


class _SpecError(Exception):
    """A component cannot be built from its spec; carries where in the file the spec stands."""

    def __init__(self, path: _Path, message: str) -> None:
        self.path = path
        super().__init__(message)


def _resolve(file: StudyFile, text: str) -> Study:
    models = _build_all(ComponentKind.MODEL, file.models, "models")
    sampling = file.sampling
    return Study(
        text=text,
        models=models,
        pairs=_pairs(file, models),
        datasets=_build_all(ComponentKind.DATASET, file.datasets, "datasets"),
        attacks=_build_all(ComponentKind.ATTACK, file.attacks, "attacks"),
        defenses=_build_all(ComponentKind.DEFENSE, file.defenses, "defenses"),
        judge=_build(ComponentKind.JUDGE, file.judge, ("judge",)),
        sampling=Sampling(sampling.temperature, sampling.max_tokens, sampling.seed, sampling.top_p),
        repeats=sampling.repeats,
        limit=file.limit,
    )


def _pairs(file: StudyFile, models: tuple[Any, ...]) -> tuple[tuple[Any, Any], ...]:
    if file.pairs == "auto":
        return tuple(catalog.pairs_among(models))
    by_label = {label_of(model): model for model in models}
    pairs = []
    for i, pair in enumerate(file.pairs):
        for j, label in enumerate(pair):
            if label not in by_label:
                error = UnknownNameError("model of this study", label, by_label)
                raise _SpecError(("pairs", i, j), str(error))
        pairs.append((by_label[pair[0]], by_label[pair[1]]))
    return tuple(pairs)


def _build_all(kind: ComponentKind, specs: list[Spec], key: str) -> tuple[Any, ...]:
    built: dict[str, Any] = {}
    for i, spec in enumerate(specs):
        component = _build(kind, spec, (key, i))
        label = label_of(component)
        if label in built:
            hint = "give one of them an `alias`" if kind is ComponentKind.MODEL else "remove one"
            raise _SpecError((key, i), f"two {kind}s are both called {label!r}; {hint}")
        same = [name for name, one in built.items() if identity_of(one) == identity_of(component)]
        if same:
            raise _SpecError(
                (key, i),
                f"{label!r} and {same[0]!r} are the same {kind} to the store, which would keep "
                "their results together; give one of them a `revision`",
            )
        built[label] = component
    return tuple(built.values())


def _build(kind: ComponentKind, spec: Any, path: _Path) -> Any:
    try:
        return registry.build_spec(kind, spec)
    except BuildError as error:
        raise _SpecError((*path, *error.path), str(error)) from error


def _read_yaml(text: str, name: str) -> tuple[Any, dict[_Path, int]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error)
        raise StudyError(f"{name}{where}: this is not valid YAML: {problem}") from error
    if not isinstance(data, dict):
        raise StudyError(f"{name}: a study file is a list of keys such as `models:`")
    lines: dict[_Path, int] = {}
    _note_lines(node, (), lines, name)
    return data, lines


def _note_lines(node: Any, path: _Path, lines: dict[_Path, int], name: str) -> None:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise StudyError(
                    f"{name}, line {key.start_mark.line + 1}: the key {key.value!r} is there twice"
                )
            seen.add(key.value)
            _note_lines(value, (*path, key.value), lines, name)
            lines[(*path, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _note_lines(value, (*path, i), lines, name)


def _line(lines: dict[_Path, int], path: _Path) -> int:
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _place_of(loc: _Path, data: Any) -> _Path:
    """Cut pydantic's location to the steps that are in the file."""
    place: list[str | int] = []
    for step in loc:
        inside = (isinstance(data, dict) and step in data) or (
            isinstance(data, list) and isinstance(step, int) and step < len(data)
        )
        if inside:
            data = data[step]
            place.append(step)
        elif isinstance(data, dict):
            return (*place, step)
        else:
            break
    return tuple(place)


def _explain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        name = str(error["loc"][-1])
        known = SamplingSpec if error["loc"][0] == "sampling" else StudyFile
        return str(UnknownNameError("key", name, known.model_fields))
    if error["type"] == "missing":
        return "this key is needed"
    return f"{error['msg']}, not {error['input']!r}"
