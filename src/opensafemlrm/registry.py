"""Finding components by their names, and building them from options.

Those of this package are the rows of ``built_in.toml``. Other packages add theirs through entry
points in the groups ``opensafemlrm.datasets``, ``opensafemlrm.attacks``, ``opensafemlrm.defenses``,
``opensafemlrm.models`` and ``opensafemlrm.judges``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError

from opensafemlrm.built_in import COMPOSED, ComponentKind, built_in, classes
from opensafemlrm.components import Attack, Component, Dataset, Defense, Judge, Model, Search
from opensafemlrm.contract import check
from opensafemlrm.errors import BuildError, OptionError, PluginError, UnknownNameError
from opensafemlrm.faults import named_faults
from opensafemlrm.redaction import KEY_ADVICE, find_key
from opensafemlrm.strict_yaml import explain
from opensafemlrm.text_file import WORDS, TextFile

__all__ = [
    "BASES", "ComponentKind", "available", "build", "build_spec", "built_in", "find", "names"
]  # fmt: skip


@cache
def _plugins(kind: ComponentKind) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=f"opensafemlrm.{kind}s")}


def names(kind: ComponentKind) -> list[str]:
    """Return the known names of a kind, sorted; a plugin cannot replace a built-in."""
    return sorted({*_plugins(kind), *built_in(kind)})


def find(kind: ComponentKind, name: str) -> type[Any]:
    """Return the class behind ``name``.

    Raises UnknownNameError with the nearest known names, and PluginError where a package that is
    installed beside this one does not give what its entry point promises.
    """
    if name in built_in(kind):
        return _load(classes(kind)[name])
    if name not in _plugins(kind):
        raise UnknownNameError(kind, name, names(kind))
    point = _plugins(kind)[name]
    try:
        found: type[Any] = point.load()
    except (Exception, SystemExit) as error:  # a script that ends itself, say
        raise PluginError(kind, name, point.value, f"{type(error).__name__}: {error}") from error
    is_class = inspect.isclass(found) and dataclasses.is_dataclass(found)
    if not (is_class and issubclass(found, BASES[kind])):
        bases = " or ".join(base.__name__ for base in BASES[kind])
        raise PluginError(kind, name, point.value, f"this is no frozen dataclass based on {bases}")
    return found


def available(kind: ComponentKind, skipped: Callable[[str], None]) -> dict[str, type[Any]]:
    """Return the classes of a kind by name; ``skipped`` is told of each plugin that is broken."""
    found = {}
    for name in names(kind):
        try:
            found[name] = find(kind, name)
        except PluginError as error:
            skipped(f"skipped: {error}")
    return found


def _load(target: str) -> type[Any]:
    module, _, attribute = target.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), attribute)
    return found


_VENDORS: Final = {
    "chatgpt-": "openai",
    "claude-": "anthropic",
    "gemini-": "google",
    "gpt-": "openai",
}
"""How the names of vendors' models begin."""
_URL: Final = ("http://", "https://")
BASES: Final[Mapping[ComponentKind, tuple[type[Component], ...]]] = {
    ComponentKind.DATASET: (Dataset,),
    ComponentKind.ATTACK: (Attack, Search),
    ComponentKind.DEFENSE: (Defense,),
    ComponentKind.MODEL: (Model,),
    ComponentKind.JUDGE: (Judge,),
}
"""What components of each kind are based on."""


def build_spec(kind: ComponentKind, spec: Any) -> Any:
    """Build what a study says of a component: ``NAME``, or ``{KIND: NAME, OPTION: VALUE, …}``.

    ``http(s)://HOST/v1#NAME`` is the model of that name on an OpenAI-compatible server. A component
    that is built already is returned as it is. Raises as :func:`build` does.
    """
    if isinstance(spec, str):
        name, options = spec, {}
    elif isinstance(spec, Mapping):
        options = dict(spec)
        name = options.pop(kind.value, None)
        if not isinstance(name, str):
            raise OptionError(f"say which {kind} it is: {{{kind}: NAME, …}}")
    elif isinstance(spec, BASES[kind]):
        check(spec)
        _refuse_keys(spec.options())
        return spec
    elif inspect.isclass(spec) and issubclass(spec, BASES[kind]):
        raise OptionError(f"this is the class {spec.__name__}: make one of it, {spec.__name__}(…)")
    else:
        raise OptionError(
            f"this is the name of a {kind}, {{{kind}: NAME, …}}, or an object of a class that is "
            f"based on {' or '.join(base.__name__ for base in BASES[kind])}"
        )
    if kind is ComponentKind.MODEL and name.startswith(_URL):
        url, _, model = name.partition("#")
        if not model:
            raise OptionError(f"add the model's name to the address: {url}#NAME")
        name, options = f"openai/{model}", {"base_url": url, **options}
    return build(kind, name, options)


def build(kind: ComponentKind, name: str, options: Mapping[str, Any] | None = None) -> Any:
    """Build the component ``name`` with ``options``.

    A model's name is ``PROVIDER/NAME``; the part after the slash is its option ``model``. Attacks
    and defenses are composed with ``+``, as in ``typo+mirror``; their options then stand under the
    name of the part: ``{"typo": {…}}``. Where an option is a model or a judge, its value is
    anything that :func:`build_spec` takes.

    Raises BuildError, which says in ``path`` which options lead to the mistake: an OptionError
    names the option and what it takes, an UnknownNameError the nearest names.
    """
    options = dict(options or {})
    _refuse_keys({kind.value: name, **options})
    if COMPOSED in classes(kind) and "+" in name:
        return _compose(kind, name, options)
    if kind is ComponentKind.MODEL:
        provider, slash, rest = name.partition("/")
        if not slash or not rest:
            raise UnknownNameError(kind, name, _likely_models(name, names(kind)))
        options["model"] = rest
        name = provider
    return _construct(find(kind, name), kind, name, options)


def _refuse_keys(options: Mapping[str, Any]) -> None:
    """Raise OptionError where an option holds a key or a password, without repeating it."""
    path = find_key(options)
    if path is not None:
        with _below(*path):
            raise OptionError(KEY_ADVICE)


def _likely_models(name: str, providers: Iterable[str]) -> list[str]:
    """Return what somebody may mean who names a model without its provider."""
    vendor = next((vendor for start, vendor in _VENDORS.items() if name.startswith(start)), None)
    return [f"{vendor}/{name}"] if vendor else [f"{provider}/NAME" for provider in providers]


@contextlib.contextmanager
def _below(*steps: str | int) -> Iterator[None]:
    """Put ``steps`` before the path of an error: options are built from the outside in."""
    try:
        yield
    except BuildError as error:
        error.path = (*steps, *error.path)
        raise


def _compose(kind: ComponentKind, name: str, options: Mapping[str, Any]) -> Any:
    parts = name.split("+")
    for part in parts:
        if parts.count(part) > 1:
            raise OptionError(f"the {kind} {name!r} has the part {part!r} twice")
    for key, value in options.items():
        if key not in parts or not isinstance(value, Mapping):
            raise OptionError(
                f"the {kind} {name!r} takes options by part, such as {parts[0]}: {{…}}, not {key!r}"
            )
    built = []
    for part in parts:
        with _below(part):
            built.append(build(kind, part, options.get(part)))
    try:
        return _load(classes(kind)[COMPOSED])(tuple(built))
    except ValueError as error:
        raise OptionError(f"the {kind} {name!r}: {error}") from error


def _construct(cls: type[Any], kind: ComponentKind, name: str, options: Mapping[str, Any]) -> Any:
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    hints = typing.get_type_hints(cls, include_extras=True)
    values: dict[str, Any] = {}
    for key, value in options.items():
        with _below(key):
            if key not in fields:
                near = difflib.get_close_matches(key, fields, n=1)
                known = f"it takes: {', '.join(fields) or 'none'}"
                hint = f"did you mean {near[0]}?" if near else known
                raise OptionError(f"the {kind} {name!r} has no option {key!r}; {hint}")
            values[key] = _value(hints[key], value, f"the {kind} {name!r}, option {key!r}")
    missing = [
        f.name
        for f in fields.values()
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in values
    ]
    if missing:
        form = f"{{{kind}: {name}, {missing[0]}: …}}"
        raise OptionError(f"the {kind} {name!r} needs the option {missing[0]!r}: write {form}")
    with named_faults():
        try:
            built = cls(**values)
            for field in fields.values():
                if WORDS in field.metadata and getattr(built, field.name) is not None:
                    built.text_of(field.name)
        except (TypeError, ValueError) as error:
            raise OptionError(f"the {kind} {name!r}: {error}") from error
    check(built)
    return built


def _value(hint: Any, value: Any, where: str) -> Any:
    """Return an option as its field's type says: models and judges built, all else checked.

    ``{file: FILE}`` is the text of a file, for every option that takes a text. A type that has
    ``from_option`` reads its values itself.
    """
    alternatives = (hint, *typing.get_args(hint))
    reader = next((kind for kind in alternatives if hasattr(kind, "from_option")), None)
    if str in alternatives and isinstance(value, Mapping) and "file" in value:
        return _read(TextFile.from_option, value, where).text
    if reader is not None and not (value is None or isinstance(value, reader)):
        return _read(reader.from_option, value, where)
    inner = next((kind for one in alternatives for kind in BASES if one in BASES[kind]), None)
    if inner is None or (value is None and type(None) in alternatives):
        return _checked(hint, value, where)
    if typing.get_origin(hint) is not tuple:
        return build_spec(inner, value)
    if not isinstance(value, list | tuple):
        raise OptionError(f"this is a list of {inner}s")
    built = []
    for place, spec in enumerate(value):
        with _below(place):
            built.append(build_spec(inner, spec))
    return tuple(built)


def _read(read: Callable[[Any], Any], value: Any, where: str) -> Any:
    """Return what a type of options makes of a value."""
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{where}: {error}") from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        if isinstance(value, str) and isinstance(listed := _as_list(adapter, value), tuple):
            return listed
        raise OptionError(f"{where}: {explain(error.errors()[0])}") from error


def _as_list(adapter: TypeAdapter[Any], text: str) -> Any:
    """Return what a list of one text would be, ``None`` where a list is not taken."""
    try:
        return adapter.validate_python([text])
    except ValidationError:
        return None
