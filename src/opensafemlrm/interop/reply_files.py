"""Files of replies that others wrote: CSV, TSV, JSON, JSON Lines or Parquet, by a mapping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from opensafemlrm import reasoning
from opensafemlrm.datasets import own
from opensafemlrm.datasets.items import Draft, Maker
from opensafemlrm.datasets.mapping import kind_in
from opensafemlrm.datasets.source import Source
from opensafemlrm.errors import DatasetError, ImportDataError, UnknownNameError
from opensafemlrm.interop.replies_in import ForeignReply
from opensafemlrm.interop.reply_cells import (
    Row,
    bases_of,
    count_in,
    is_word,
    labels_of,
    number_in,
    optional_count,
    reply_texts,
    short,
    text_of,
    verdicts_of,
)
from opensafemlrm.interop.reply_mapping import Column, KindCells, ReplyMapping
from opensafemlrm.models.http.error_words import cause
from opensafemlrm.types import (
    Item,
    ItemKind,
    Prompt,
    Response,
    ResponseStatus,
    Usage,
)

_EXCEL: Final = (".xlsx", ".xls")
_NO_ANSWER: Final = "no_answer"
"""The code of a failure of which the other tool says no more than that it got no reply."""
_MAX_CELL: Final = 32_767
"""Characters that a cell of a sheet holds; what writes sheets cuts longer texts in silence."""
_CELL_FULL: Final = "as long as a cell of Excel can be: the reply was cut, or ends just there"
_NO_REPLY: Final = "the imported results hold no reply"


@dataclass(frozen=True, slots=True)
class ReplyFile:
    """A file of replies and what its columns hold. Pictures are named relative to its folder."""

    path: Path
    mapping: ReplyMapping

    def replies(self) -> Iterator[ForeignReply | ImportDataError]:
        """Yield the replies in the order of the file, and for each bad row its error.

        Raises ImportDataError where the file cannot be read, or lacks a column.
        """
        reader = _Reader(self.path, self.mapping)
        try:
            for row in self._rows():
                if isinstance(row, DatasetError):
                    yield ImportDataError(str(row))
                    continue
                try:
                    yield from list(reader.replies(*row))
                except DatasetError as error:
                    placed = (
                        error
                        if error.path
                        else type(error)(error.reason, path=self.path, row=row[0])
                    )
                    yield ImportDataError(str(placed))
        except DatasetError as error:
            raise ImportDataError(str(error)) from error

    def _rows(self) -> Iterator[tuple[int, Row] | DatasetError]:
        kind, needed = self.path.suffix.lower(), self.mapping.columns()
        if kind in _EXCEL:
            raise DatasetError(
                "sheets are not read: make a table of it where pandas and openpyxl are, with "
                f"`python -c \"import pandas; pandas.read_excel('{self.path.name}')"
                f".to_csv('{self.path.stem}.csv', index=False)\"`, and import that; VLMEvalKit "
                "writes TSV itself with PRED_FORMAT=tsv",
                path=self.path,
            )
        if kind not in own.ENDINGS:
            known = ", ".join(own.ENDINGS)
            raise DatasetError(
                f"replies are read from {known}, not {kind or 'this'}", path=self.path
            )
        if not self.path.is_file():
            raise DatasetError("there is no such file", path=self.path)
        own.check_columns(self.path, needed)
        return own.read_rows(self.path)


class _Reader:
    """Makes replies of rows."""

    def __init__(self, path: Path, mapping: ReplyMapping) -> None:
        self.path, self.mapping = path, mapping
        self.source = Source(path.parent, path.parent, "where the file came from")
        lacking = [name for name in ("model", "dataset") if getattr(mapping, name) is None]
        if lacking:
            options = " ".join(f"--{name} NAME" for name in lacking)
            raise ImportDataError(
                f"{path}: the mapping does not say the {' and the '.join(lacking)}; give "
                f"{options}, or map {'its column' if len(lacking) == 1 else 'their columns'}"
            )

    def replies(self, number: int, row: Row) -> Iterator[ForeignReply]:
        """Yield the replies of a row: several where its cell holds a list of them."""
        mapping = self.mapping
        item = self._item_of(number, row)
        prompt = None if mapping.prompt is None else self._prompt(row, item)
        repeat = 0 if mapping.repeat is None else count_in(row, mapping.repeat)
        form = text_of(mapping.format, row)
        try:
            reasoning.resolve(form)
        except UnknownNameError as error:
            raise DatasetError(f"format: {error}") from error
        responses = self._responses(row, form)
        if len(responses) > 1 and mapping.repeat is not None:
            raise DatasetError("the row holds several replies, and `repeat` is mapped too")
        verdicts = tuple(verdicts_of(mapping.verdicts, row))
        labels, bases = tuple(labels_of(mapping.labels, row)), bases_of(mapping.bases, row)
        if len(responses) > 1 and (verdicts or labels):
            raise DatasetError(
                "the row holds several replies: of which of them its verdicts are is not known; "
                "give each reply a row of its own"
            )
        for place, response in enumerate(responses):
            # What was said of an error message, or of nothing, is about no reply.
            came = response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)
            yield ForeignReply(
                item=item,
                model=self._name(row, "model"),
                response=response,
                attack=self._name(row, "attack"),
                defense=self._name(row, "defense"),
                repeat=repeat + place,
                bases=bases,
                simulated=is_word(text_of(mapping.simulated, row, needed=False), ("true", "1")),
                prompt=prompt,
                form=form,
                verdicts=verdicts if came else (),
                labels=labels if came else (),
            )

    def _name(self, row: Row, kind: str) -> str:
        return text_of(getattr(self.mapping, kind), row).strip()

    def _prompt(self, row: Row, item: Item) -> Prompt | None:
        text = text_of(self.mapping.prompt, row, needed=False)
        return Prompt.user(*item.images, text, system=item.system) if text else None

    def _item_of(self, number: int, row: Row) -> Item:
        mapping = self.mapping
        question = text_of(mapping.question, row, needed=isinstance(mapping.question, str))
        scenario = text_of(mapping.scenario, row)
        ids = [mapping.item] if isinstance(mapping.item, str) else mapping.item or ()
        pictures = tuple(own.pictures_in(row, mapping.images, self.path.parent))
        draft = Draft(
            id="/".join(own.cell(row, name) for name in ids)
            or own.made_id(question, scenario, pictures),
            scenario=scenario,
            question=question or "(not recorded)",
            kind=_kind(mapping, row),
            images=pictures,
            fields={ours: own.cell(row, theirs) for ours, theirs in mapping.fields.items()},
            system=text_of(mapping.system, row, needed=False) or None,
        )
        # A maker for each row: here, an id may come again.
        maker = Maker(self._name(row, "dataset"), self.source, self.path)
        (item,) = maker.items([(number, row)], lambda _: [draft])
        if isinstance(item, DatasetError):
            raise item
        return item

    def _responses(self, row: Row, form: str) -> list[Response]:
        mapping = self.mapping
        status = text_of(mapping.status, row)
        if status not in ("", *ResponseStatus):
            raise DatasetError(
                f"column {mapping.status!r}: {status!r} is none of {', '.join(ResponseStatus)}"
            )
        named = mapping.answer if mapping.reply is None else mapping.reply
        if named is None:
            return [Response(ResponseStatus(status or "ok"))]
        columns = (named,) if isinstance(named, str) else named
        thought = None
        if mapping.reasoning is not None:
            thought = text_of(mapping.reasoning, row, needed=False) or None
        texts = reply_texts(row, columns)
        return [self._response(row, status, text, _apart(text, thought, form)) for text in texts]

    def _response(self, row: Row, status: str, text: str, thought: str | None) -> Response:
        mapping = self.mapping
        code, detail = (
            text_of(column, row, needed=False)
            for column in (mapping.error_code, mapping.error_detail)
        )
        if is_word(text, mapping.failures):
            return Response.failed(cause(text, 0) or _NO_ANSWER, short(text), transient=False)
        if status in ("", "ok") and not text.strip() and not thought:
            return Response.failed("not_recorded", _NO_REPLY, transient=False)
        if len(text) == _MAX_CELL and status in ("", "ok"):
            status, detail = ResponseStatus.TRUNCATED, detail or _CELL_FULL
        if status in (ResponseStatus.FAILED, ResponseStatus.BLOCKED):
            code = code or "not_recorded"
        return Response(
            ResponseStatus(status or "ok"),
            text,
            thought,
            code=code or None,
            detail=detail or None,
            usage=Usage(
                optional_count(row, mapping.input_tokens),
                optional_count(row, mapping.output_tokens),
                optional_count(row, mapping.reasoning_tokens),
            ),
            latency=(number_in(row, mapping.latency_ms) or 0.0) / 1000,
        )


def _kind(mapping: ReplyMapping, row: Row) -> ItemKind:
    kind = mapping.kind
    if not isinstance(kind, KindCells):
        return ItemKind(kind)
    cell = text_of(Column(column=kind.column, default=""), row)
    if not cell and kind.default is not None:
        return ItemKind(kind.default)
    return kind_in(kind, cell)


def _apart(text: str, thought: str | None, form: str) -> str | None:
    """Return reasoning that came apart; ``None`` where the reply is known to hold it too."""
    if thought is None:
        return None
    inside = reasoning.parse(Response(ResponseStatus.OK, text), form).reasoning
    return None if inside is not None and inside.strip() == thought.strip() else thought


def replies_in_files(
    paths: Iterable[Path], mapping: ReplyMapping
) -> Iterator[ForeignReply | ImportDataError]:
    """Yield the replies of several files, as :meth:`ReplyFile.replies` does."""
    for path in paths:
        yield from ReplyFile(path, mapping).replies()
