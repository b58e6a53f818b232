"""A study: models × datasets × attacks × defenses, and the judges.

It is checked whole before anything runs, and every name is resolved through the registry. An error
names the key, and of a study file the line as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import yaml

from opensafemlrm import registry, strict_yaml
from opensafemlrm import series as all_series
from opensafemlrm.components import (
    Attack,
    Component,
    Dataset,
    Defense,
    Judge,
    Model,
    Search,
    map_models,
)
from opensafemlrm.errors import (
    BuildError,
    SafeMLRMError,
    StudyError,
    UnknownNameError,
    reason_of,
)
from opensafemlrm.faults import named_faults
from opensafemlrm.models import catalog
from opensafemlrm.redaction import without_secrets
from opensafemlrm.registry import ComponentKind
from opensafemlrm.series import Series
from opensafemlrm.strict_yaml import BadYAMLError
from opensafemlrm.study_file import Mistake, SpecError, StopSpec, StudySpec
from opensafemlrm.types import Sampling

_LISTS: Final = {
    "models": ComponentKind.MODEL,
    "datasets": ComponentKind.DATASET,
    "attacks": ComponentKind.ATTACK,
    "defenses": ComponentKind.DEFENSE,
}
_NO_PAIRS: Final = "a tax is between a reasoning model and its base; name them under `pairs:`"
Spec: TypeAlias = str | Mapping[str, Any]
"""What a component is made from: its name, or its name and options, ``{"judge": NAME, …}``."""


@dataclass(frozen=True, slots=True, init=False)
class Study:
    """What to evaluate, with every name resolved.

    Components are given as in a study file, by name or as a mapping with options, or as objects.
    ``sampling`` may be a mapping with the keys of a study file, ``repeats`` among them. Raises
    StudyError, which names the key.
    """

    models: tuple[Model, ...]
    datasets: tuple[Dataset, ...]
    judges: tuple[Judge, ...]
    """Each gives verdicts on every reply; the first guides attacks that search, and ``stop``."""
    attacks: tuple[Attack | Search, ...]
    defenses: tuple[Defense, ...]
    pairs: tuple[tuple[Model, Model], ...]
    """Reasoning models, each with the base that it is compared with."""
    series: tuple[Series, ...]
    """Versions of a model in their order: what ``drift`` compares."""
    sampling: Sampling
    repeats: int
    limit: int | None
    """Items a dataset gives, spread evenly over its scenarios; ``None`` for all."""
    stop: StopSpec | None
    """When enough items of a scenario were run; ``None`` to run all."""
    text: str
    """The study file, or what stands for it in the store's list of runs."""

    def __init__(  # noqa: PLR0913 # the keys of a study
        self,
        models: Sequence[Spec | Model],
        datasets: Sequence[Spec | Dataset],
        judge: Spec | Judge | None = None,
        *,
        judges: Sequence[Spec | Judge] = (),
        attacks: Sequence[Spec | Attack | Search] = ("direct",),
        defenses: Sequence[Spec | Defense] = ("none",),
        pairs: Sequence[tuple[str | Model, str | Model]] | Literal["auto"] = (),
        series: Sequence[Series | Mapping[str, Any]] = (),
        sampling: Sampling | Mapping[str, Any] | None = None,
        repeats: int | None = None,
        limit: int | None = None,
        stop: StopSpec | Mapping[str, Any] | None = None,
        text: str = "",
    ) -> None:
        """Resolve what is given. Raises StudyError."""
        if isinstance(sampling, Sampling):
            sampling = _sampling_keys(sampling)
        if repeats is not None:
            sampling = {**(sampling or {}), "repeats": repeats}
        data = {
            "models": _as_list(models),
            "pairs": _as_list(pairs),
            "series": _as_list(series),
            "datasets": _as_list(datasets),
            "attacks": _as_list(attacks),
            "defenses": _as_list(defenses),
            "judge": judge,
            "judges": _as_list(judges),
            "sampling": sampling or {},
            "limit": limit,
            "stop": stop,
        }
        self._resolve(data, text)

    def _resolve(self, data: Any, text: str) -> None:
        """Set the fields from the keys of a study. Raises SpecError with all that is wrong."""
        given = data.get("series")
        made = [s for s in given if isinstance(s, Series)] if isinstance(given, list) else []
        if made:
            data = {**data, "series": [s for s in given if not isinstance(s, Series)]}
        spec, mistakes = StudySpec.of(data)
        lists = {
            key: _build_all(kind, getattr(spec, key, []), key, mistakes)
            for key, kind in _LISTS.items()
        }
        if getattr(spec, "judge", None) is None:
            several = getattr(spec, "judges", [])
            judges = _build_all(ComponentKind.JUDGE, several, "judges", mistakes)
        else:
            judges = (_build(ComponentKind.JUDGE, spec.judge, ("judge",), mistakes),)
        series, lists["models"] = _series(spec, lists["models"], mistakes)
        pairs = _pairs(spec, lists["models"], mistakes)
        if not mistakes and spec.stop is not None and spec.stop.decide and not pairs:
            mistakes.append(Mistake(("stop", "decide"), _NO_PAIRS))
        if mistakes:  # what the data lacks would come in the next try
            wrong = {path[:2] for path, _ in mistakes}
            count = len(getattr(spec, "datasets", []))
            places = [("datasets", i) for i in range(count) if ("datasets", i) not in wrong]
            for place, dataset in zip(places, lists["datasets"], strict=False):
                mistakes += [Mistake(place, fault) for fault in unreadable(dataset)]
            raise SpecError(mistakes)
        values = {
            **lists,
            "judges": judges,
            "pairs": pairs,
            "series": (*made, *series),
            "sampling": Sampling(**spec.sampling.model_dump(exclude={"repeats"})),
            "repeats": spec.sampling.repeats,
            "limit": spec.limit,
            "stop": spec.stop,
            "text": text or _as_yaml(spec),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def judge(self) -> Judge:
        """The judge, or the first of several."""
        return self.judges[0]

    @property
    def components(self) -> tuple[Component, ...]:
        """All that may ask a model or hold a connection: everything but the datasets."""
        return (*self.models, *self.attacks, *self.defenses, *self.judges)

    def map_models(self, change: Callable[[Model], Model]) -> Study:
        """Return the study with ``change`` made to every model in it, wherever it stands."""
        models = {id(model): map_models(model, change) for model in self.models}
        return dataclasses.replace(
            self,
            models=tuple(models.values()),
            pairs=tuple((models[id(one)], models[id(two)]) for one, two in self.pairs),
            attacks=tuple(map_models(attack, change) for attack in self.attacks),
            defenses=tuple(map_models(defense, change) for defense in self.defenses),
            judges=tuple(map_models(judge, change) for judge in self.judges),
        )


def load(path: Path | str) -> Study:
    """Read and resolve a study file. Raises StudyError with file, line and key."""
    try:
        text = strict_yaml.text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: the study file cannot be read: {reason_of(error)}") from error
    return parse(text, str(path))


def parse(text: str, name: str = "study") -> Study:
    """Resolve the text of a study file; ``name`` stands for it in errors."""
    what = "a study file is a list of keys such as `models:`"
    document = strict_yaml.Document.read(text, name, what, StudyError)
    study = Study.__new__(Study)
    try:
        study._resolve(document.data, text)
    except SpecError as error:
        raise document.error(error.mistakes) from error
    return study


def unreadable(dataset: Dataset) -> list[str]:
    """Return what keeps the first row of a data set from being read, such as a missing folder."""
    try:
        with named_faults():
            next(iter(dataset.rows()), None)
    except SafeMLRMError as error:
        return [str(error)]
    return []


def judge_of(text: str) -> Judge:
    """Build the judge that a command is told: the one of a study file, or as :func:`parse_judge`.

    Raises StudyError.
    """
    is_file = text.endswith((".yaml", ".yml")) and not text.startswith("{")
    return load(Path(text)).judge if is_file else parse_judge(text)


def parse_judge(text: str) -> Judge:
    """Build a judge from what a study file would say of it: a name, or ``{judge: NAME, …}``.

    Raises StudyError, as :func:`parse` does.
    """
    try:
        judge: Judge = registry.build_spec(ComponentKind.JUDGE, strict_yaml.read(text)[0])
    except BadYAMLError as error:
        raise StudyError(without_secrets(f"the judge {text[:200]!r}: {error.reason}")) from error
    except BuildError as error:
        where = "the judge" + (f", {'.'.join(map(str, error.path))}" if error.path else "")
        raise StudyError(without_secrets(f"{where}: {error}")) from error
    return judge


def _as_list(values: Any) -> Any:
    """Return a list, for pydantic to check; a text is left as it is, for pydantic to refuse."""
    return values if isinstance(values, str) else list(values)


def _sampling_keys(sampling: Sampling) -> dict[str, Any]:
    keys = dataclasses.asdict(sampling)
    if keys.pop("stop") is not None:
        wrong = Mistake(("sampling", "stop"), "a study cannot set it; judges and defenses do")
        raise SpecError([wrong])
    return keys


def _as_yaml(spec: StudySpec) -> str:
    """Write a study that came from no file as one; objects by what makes their results theirs."""
    keys = {
        name: getattr(spec, name)
        for name in StudySpec.model_fields
        if name not in ("sampling", "stop", "series", "judge" if spec.judge is None else "judges")
    }
    keys["sampling"] = spec.sampling.model_dump()
    keys["stop"] = None if spec.stop is None else spec.stop.model_dump()
    keys["series"] = [series.model_dump(exclude_defaults=True) for series in spec.series]
    return yaml.safe_dump(_plain(keys), sort_keys=False, allow_unicode=True)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return _plain(value.identity()) if isinstance(value, Component) else str(value)


def _series(
    spec: StudySpec, models: tuple[Model, ...], mistakes: list[Mistake]
) -> tuple[tuple[Series, ...], tuple[Model, ...]]:
    """Return the series, and the models with those that series add."""
    every = list(models)

    def build(model: Any, path: strict_yaml.Path) -> Any:
        return _build(ComponentKind.MODEL, model, path, mistakes)

    return all_series.resolve(getattr(spec, "series", []), every, build, mistakes), tuple(every)


def _pairs(
    spec: StudySpec, models: tuple[Any, ...], mistakes: list[Mistake]
) -> tuple[tuple[Any, Any], ...]:
    if getattr(spec, "pairs", []) == "auto":
        return tuple(catalog.pairs_among(models))
    by_label = {model.label: model for model in models}
    pairs = []
    places = {path[:2] for path, _ in mistakes}
    if ("models",) in places or any(place[0] == "series" for place in places):
        return ()  # which models there are is not known
    given = getattr(spec, "models", [])
    broken = str([model for i, model in enumerate(given) if ("models", i) in places])
    for i, pair in enumerate(getattr(spec, "pairs", [])):
        labels = [name if isinstance(name, str) else name.label for name in pair]
        unknown = [(j, label) for j, label in enumerate(labels) if label not in by_label]
        for j, label in unknown:
            if repr(label) in broken or f"#{label.rpartition('/')[2]}'" in broken:
                continue  # it is named, and what is wrong with it is said
            error = UnknownNameError("model of this study", label, by_label)
            mistakes.append(Mistake(("pairs", i, j), str(error)))
        if labels[0] == labels[1]:
            wrong = f"{labels[0]!r} is paired with itself; name a model and the base it came from"
            mistakes.append(Mistake(("pairs", i), wrong))
        elif not unknown:
            pair_of = (by_label[labels[0]], by_label[labels[1]])
            if pair_of[::-1] in pairs:
                wrong = (
                    f"{labels[0]!r} and {labels[1]!r} are each other's base; keep one of the two"
                )
                mistakes.append(Mistake(("pairs", i), wrong))
            pairs.append(pair_of)
    return tuple(pairs)


def _build_all(
    kind: ComponentKind, specs: list[Any], key: str, mistakes: list[Mistake]
) -> tuple[Any, ...]:
    built: dict[str, Any] = {}
    for i, spec in enumerate(specs):
        component = _build(kind, spec, (key, i), mistakes)
        if component is None:
            continue
        label, identity = component.label, component.identity()
        same = [name for name, other in built.items() if other.identity() == identity]
        if label in built:
            can = hasattr(component, "alias") and not same
            hint = "give one of them an `alias`" if can else "remove one"
            mistakes.append(Mistake((key, i), f"two {kind}s are both called {label!r}; {hint}"))
        elif same:
            mistakes.append(
                Mistake(
                    (key, i),
                    f"{label!r} and {same[0]!r} are the same {kind} to the store, which would keep "
                    "their results together; give one of them a `revision`",
                )
            )
        built[label] = component
    return tuple(built.values())


def _build(kind: ComponentKind, spec: Any, path: strict_yaml.Path, mistakes: list[Mistake]) -> Any:
    """Build a component; where it cannot be built, note why and return ``None``."""
    try:
        component = registry.build_spec(kind, spec)
    except BuildError as error:
        mistakes.append(Mistake((*path, *error.path), str(error)))
        return None
    if not component.label or "\0" in component.label:
        wrong = f"tables would call this {kind} {component.label!r}: give it a name to read"
        mistakes.append(Mistake(path, wrong))
        return None
    return component
