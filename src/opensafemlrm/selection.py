"""A part of what a store holds: some of its components and scenarios, and some rows of a table."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opensafemlrm.errors import OptionError, UnknownNameError
from opensafemlrm.types import PARTS

if TYPE_CHECKING:
    import polars as pl

    from opensafemlrm.store.source import Source
    from opensafemlrm.study import Spec, Study

Choice: TypeAlias = str | Sequence[str] | None
"""One name, several of them, or ``None`` for all."""
MEANS: Final = ("micro", "macro")
"""Means of the tax: over samples, and over scenarios."""
GROUPINGS: Final = ("scenario", "model", "dataset", "attack", "defense", "judge", "part")
"""What a table can be broken down by: by scenarios, or by a name that its rows have."""


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
    defense: tuple[str, ...] = ()
    scenario: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Mapping[str, Choice]) -> Selection:
        """Return the selection by names of kinds. Raises UnknownNameError for another kind."""
        for kind in names:
            if kind not in KINDS:
                raise UnknownNameError("kind of names", kind, KINDS)
        return cls(**{kind: tuple(as_list(wanted)) for kind, wanted in names.items()})

    def also(self, kind: str, name: str) -> Selection:
        """Return the selection with one more name of a kind, where that kind is chosen by."""
        names = getattr(self, kind)
        return replace(self, **{kind: (*names, name)}) if names else self

    @property
    def words(self) -> list[str]:
        """What is chosen, kind by kind, as footers say it."""
        return [
            f"{kind}{'s' * (len(names) > 1)} {', '.join(names)}"
            for kind in self.columns
            if (names := getattr(self, kind))
        ]

    def __bool__(self) -> bool:
        return any(getattr(self, kind.name) for kind in fields(self))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that rows are chosen by."""
        return tuple(kind.name for kind in fields(self) if getattr(self, kind.name))

    def of_frame(
        self, frame: pl.DataFrame, pairs: pl.DataFrame, cells: pl.DataFrame | None = None
    ) -> Selection:
        """Return the labels that the names stand for in the tidy table ``frame``.

        ``pairs`` has the columns ``reasoner`` and ``base``; ``cells`` those that may have no row,
        as nothing was sent. Raises UnknownNameError for a name that none of them has.
        """
        of = [table for table in (frame, cells) if table is not None]
        chosen = {
            kind: labels_of(
                kind,
                getattr(self, kind),
                {label for table in of if kind in table for label in table[kind].unique()},
            )
            for kind in self.columns
        }
        if self.model:
            bases = pairs.filter(pairs["reasoner"].is_in(chosen["model"]))["base"]
            chosen["model"] = tuple(dict.fromkeys([*chosen["model"], *bases]))
        return Selection(**chosen)

    def found_in(self, source: Source) -> Selection:
        """Return the labels that the names stand for in a store. Raises StoreError too."""
        from opensafemlrm import frame as frames  # noqa: PLC0415 # heavy for a quick --help

        sent = frames.read(source, self.columns)
        return self.of_frame(sent, frames.pairs(source), frames.not_applicable(source))

    def samples(self, source: Source) -> pl.Series | None:
        """Return the keys of the chosen samples of a store, ``None`` where all are chosen."""
        if not self:
            return None
        columns = ("sample", *self.columns)
        return self.read(source, columns)["sample"].drop_nulls().unique()

    def read(self, source: Source, columns: Collection[str] | None = None) -> pl.DataFrame:
        """Return the chosen rows of a store's tidy table. Raises StoreError, UnknownNameError."""
        from opensafemlrm import frame as frames  # noqa: PLC0415 # heavy for a quick --help

        frame = frames.read(source, columns or tuple(frames.SCHEMA))
        unsent = frames.not_applicable(source)
        return self.of_frame(frame, frames.pairs(source), unsent).rows(frame)

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
KINDS: Final = tuple(kind.name for kind in fields(Selection))
"""Kinds of names that a store can be narrowed by."""


@dataclass(frozen=True, slots=True)
class RowChoice:
    """Rows of tables to choose, by what only their own columns say; ``None`` chooses nothing."""

    part: str | None = None
    threshold: float | None = None
    mean: str | None = None
    """``micro`` or ``macro``: the tax over samples, or over scenarios."""
    by: str | None = None
    """``scenario``: a row for each; another name: that column first, in its order."""

    def __post_init__(self) -> None:
        known = {"part": PARTS, "mean": MEANS, "by": GROUPINGS}
        for kind, names in known.items():
            if (wanted := getattr(self, kind)) is not None and wanted not in names:
                raise UnknownNameError("grouping" if kind == "by" else kind, wanted, names)
        if not isinstance(self.threshold, int | float | None):
            raise OptionError(f"a threshold is a number, not {self.threshold!r}")

    def words(self, columns: Collection[str] | None = None) -> list[str]:
        """Return what is chosen of a table with these columns, as footers say it."""
        limit = None if self.threshold is None else f"{self.threshold:g}"
        chosen = {"part": self.part, "threshold": limit, "mean": self.mean}
        return [
            f"{name} {wanted}"
            for name, wanted in chosen.items()
            if wanted is not None
            and (columns is None or (name if name != "mean" else "level") in columns)
        ]

    def choose(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that are chosen, by the columns that they have."""
        for key, wanted in (("threshold", self.threshold), ("part", self.part)):
            if wanted is not None and key in frame.columns:
                frame = frame.filter(**{key: wanted})
        if self.mean is not None and "level" in frame.columns:
            others = set(MEANS) - {self.mean}
            frame = frame.filter(~frame["level"].cast(str).is_in(others))
        return frame

    def check_threshold(self, frames: Sequence[pl.DataFrame]) -> None:
        """Raise OptionError for a threshold that none of the rows has, where some have one."""
        if self.threshold is None:
            return
        columns = [frame["threshold"].drop_nulls() for frame in frames if "threshold" in frame]
        known = sorted({threshold for column in columns for threshold in column.unique()})
        if known and self.threshold not in known:
            names = ", ".join(f"{threshold:g}" for threshold in known)
            raise OptionError(f"no judge here has the threshold {self.threshold:g}; known: {names}")


ALL_ROWS: Final = RowChoice()


def selected(selection: Selection, rows: RowChoice, columns: Collection[str] | None = None) -> str:
    """Return the sentence of what is chosen, for footers; ``columns`` are those of a table."""
    words = [*selection.words, *rows.words(columns)]
    return f"A selection of the store: {'; '.join(words)}." if words else ""


def place(selection: Selection, rows: RowChoice) -> str:
    """Return where something is not, for sentences: a selection may hide what the store has."""
    words = [*selection.words, *rows.words()]
    return f"this selection of the store ({'; '.join(words)})" if words else "the store"


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
            labels = labels_of(f"{key[:-1]} of this study", wanted, [part.label for part in own])
            changes[key] = [part for part in own if part.label in labels]
    if not changes:
        return study
    if models := changes.get("models"):
        changes["pairs"] = [pair for pair in study.pairs if all(model in models for model in pair)]
    overrides = {"limit": limit, "judges": judges, **names}
    comment = ", ".join(f"{key}: {value}" for key, value in overrides.items() if value)
    return replace(study, **changes, text=f"# run with {comment}\n{study.text}")


def as_list(names: Choice) -> list[str]:
    """Return the names of a choice. Raises OptionError for what is no names."""
    given: Any = [names] if isinstance(names, str) else [] if names is None else names
    if not (isinstance(given, Iterable) and all(isinstance(name, str) for name in given)):
        raise OptionError(f"you choose by a name, or by a list of names, not by {names!r}")
    return list(given)


def plain_name(label: str) -> str:
    """Return a label without its options and its key."""
    return label.split("[", maxsplit=1)[0].split("#", maxsplit=1)[0]


def labels_of(
    kind: str, names: Sequence[str], known: Iterable[str | None], *, exact: bool = False
) -> tuple[str, ...]:
    """Return the labels among ``known`` that ``names`` stand for. Raises UnknownNameError.

    With ``exact``, a name stands for itself alone.
    """
    labels = sorted(label for label in known if label is not None)
    plain = str if exact or kind == "scenario" else plain_name
    chosen: dict[str, None] = {}
    for name in names:
        own = [label for label in labels if name in (label, plain(label))]
        if not own:
            raise UnknownNameError(kind, name, labels)
        chosen |= dict.fromkeys(own)
    return tuple(chosen)
