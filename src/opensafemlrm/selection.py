"""A part of what a store holds: some of its judges, datasets, attacks and models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opensafemlrm.errors import UnknownNameError

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.store.source import Source
    from opensafemlrm.study import Spec, Study

Choice: TypeAlias = str | Sequence[str] | None
"""One name, several of them, or ``None`` for all."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Names to choose by, as tables call them; of a kind without names there are all.

    A name without the options that a table writes behind it (``rubric`` of ``rubric[...]``) stands
    for all that begin so. With a reasoning model comes the base that it is compared with.
    """

    judge: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    attack: tuple[str, ...] = ()
    model: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        judge: Choice = None,
        dataset: Choice = None,
        attack: Choice = None,
        model: Choice = None,
    ) -> Selection:
        """Return the selection by names that may be one, several or none of a kind."""
        return cls(*(tuple(as_list(names)) for names in (judge, dataset, attack, model)))

    def __bool__(self) -> bool:
        return any(getattr(self, kind.name) for kind in fields(self))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rows are chosen by."""
        return tuple(kind.name for kind in fields(self) if getattr(self, kind.name))

    def of_frame(self, frame: pl.DataFrame, pairs: pl.DataFrame) -> Selection:
        """Return the labels that the names stand for in the tidy table ``frame``.

        ``pairs`` has the columns ``reasoner`` and ``base``. Raises UnknownNameError for a name that
        none of its rows has.
        """
        chosen = {
            kind: _labels(kind, getattr(self, kind), frame[kind].unique()) for kind in self.columns
        }
        if self.model:
            bases = pairs.filter(pairs["reasoner"].is_in(chosen["model"]))["base"]
            chosen["model"] = tuple(dict.fromkeys([*chosen["model"], *bases]))
        return Selection(**chosen)

    def found_in(self, source: Source) -> Selection:
        """Return the labels that the names stand for in a store. Raises StoreError too."""
        from opensafemlrm import frame as frames  # noqa: PLC0415 # heavy for a quick --help

        return self.of_frame(frames.read(source, self.columns), frames.pairs(source))

    def rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of ``frame`` that have these labels, by the columns that it has."""
        for kind in self.columns:
            # An empty name stands for all of them, as in calibrations.
            names = (*getattr(self, kind), "")
            if kind in frame.columns:
                frame = frame.filter(frame[kind].cast(str).is_in(names))
        return frame

    def of_requests(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of :func:`opensafemlrm.store.requests.requests` of chosen components."""
        for kind in ("model", "judge"):
            if kind in self.columns:
                own = rows["label"].is_in(getattr(self, kind))
                rows = rows.filter((rows["used_as"] != kind) | own)
        return rows

    def has(self, kind: str, label: str) -> bool:
        """Return whether a component of that kind is chosen, by its label."""
        names = getattr(self, kind, ())
        return not names or label in names


EVERYTHING: Final = Selection()


def narrowed(
    study: Study,
    names: Mapping[str, Sequence[str] | None],
    *,
    limit: int | None = None,
    judges: Sequence[Spec] = (),
) -> Study:
    """Return a study of only some components, by their names in its lists ``models`` and so on.

    What it makes has the keys that it has in the whole study. ``limit`` and ``judges`` take the
    place of the study's. Raises UnknownNameError for a name that the study does not have, and
    StudyError.
    """
    changes: dict[str, Any] = {"limit": limit} if limit else {}
    if judges:
        changes["judges"] = judges
    for key, wanted in names.items():
        if wanted:
            own = getattr(study, key)
            labels = _labels(f"{key[:-1]} of this study", wanted, [part.label for part in own])
            changes[key] = [part for part in own if part.label in labels]
    if not changes:
        return study
    if models := changes.get("models"):
        changes["pairs"] = [pair for pair in study.pairs if all(model in models for model in pair)]
    overrides = {"limit": limit, "judges": judges, **names}
    comment = ", ".join(f"{key}: {value}" for key, value in overrides.items() if value)
    return replace(study, **changes, text=f"# run with {comment}\n{study.text}")


def as_list(names: Choice) -> list[str]:
    """Return the names of a choice."""
    return [names] if isinstance(names, str) else list(names or ())


def plain_name(label: str) -> str:
    """Return a label without its options and its key."""
    return label.split("[", maxsplit=1)[0].split("#", maxsplit=1)[0]


def _labels(kind: str, names: Sequence[str], known: Iterable[str | None]) -> tuple[str, ...]:
    labels = sorted(label for label in known if label is not None)
    chosen: dict[str, None] = {}
    for name in names:
        own = [label for label in labels if name in (label, plain_name(label))]
        if not own:
            raise UnknownNameError(kind, name, labels)
        chosen |= dict.fromkeys(own)
    return tuple(chosen)
