"""A store as a data set in the layout of the Hugging Face hub: Parquet files and a card.

``data/replies-*.parquet`` has a row for each sample with the texts, ``data/frame.parquet`` is the
tidy table, and ``README.md`` is the card: columns, counts, licences, whether texts may be harmful.
The recipe ``dataset`` reads the replies back. Pictures stay behind: their data sets have them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import polars as pl
import yaml

from opensafemlrm import registry
from opensafemlrm.errors import BuildError
from opensafemlrm.export import write_frame
from opensafemlrm.files import make_folder_in, replacing
from opensafemlrm.interop.every_eval_ever import bases, scales
from opensafemlrm.registry import ComponentKind
from opensafemlrm.replies import replies
from opensafemlrm.selection import ALL_ROWS, EVERYTHING, RowChoice, Selection, selected
from opensafemlrm.store import Store, known, records
from opensafemlrm.store import labels as stored_labels
from opensafemlrm.text import counted, for_markdown

_SHARD: Final = 5000
"""Replies in one file."""
_SHARD_NAME: Final = re.compile(r"replies-(\d{5})\.parquet", re.ASCII)
_HARMLESS: Final = frozenset({"canary"})
"""Data sets whose questions and replies harm nobody, whatever they call harmful."""
_VERDICTS: Final = pl.List(
    pl.Struct(
        {
            **dict.fromkeys(("judge", "part", "label"), pl.String()),
            "score": pl.Float64(),
            **dict.fromkeys(("reason", "rationale"), pl.String()),
            **dict.fromkeys(("unsafe_from", "scale"), pl.List(pl.Float64())),
        }
    )
)
_LABELS: Final = pl.List(
    pl.Struct(
        {
            **dict.fromkeys(("labeller", "part", "label", "response_class"), pl.String()),
            "not_understood": pl.Boolean(),
            "note": pl.String(),
        }
    )
)


@dataclass(frozen=True, slots=True)
class ExportedDataset:
    """What an export wrote."""

    replies: int
    models: int
    is_harmful: bool

    def __str__(self) -> str:
        harm = "its texts may be harmful" if self.is_harmful else "no text in it is harmful"
        models = counted(self.models, "model")
        return f"{counted(self.replies, 'reply')} of {models}; {harm}, as the card says"


def export_dataset(
    store: Store, folder: Path, selection: Selection = EVERYTHING, chosen: RowChoice = ALL_ROWS
) -> ExportedDataset:
    """Write a ``selection`` of ``store`` into ``folder``; a second export replaces the first.

    Raises StoreError, and OSError where a file cannot be written.
    """
    rows = chosen.choose(selection.read(store))
    make_folder_in(folder, "data")
    write_frame(rows, folder / "data/frame.parquet")
    number = total = 0
    for number, shard in enumerate(_shards(store, rows, chosen.part), 1):  # counted
        write_frame(shard, folder / f"data/replies-{number - 1:05}.parquet")
        total += shard.height
    for file in folder.glob("data/replies-*.parquet"):
        # Of an earlier, longer export. Whatever has another form of name is somebody's own.
        if (name := _SHARD_NAME.fullmatch(file.name)) and int(name[1]) >= number:
            file.unlink()
    used = [row for row in _datasets(store) if row[0] in set(rows["dataset"].cast(str))]
    is_harmful = any(name not in _HARMLESS for _, name, _ in used)
    with replacing(folder / "README.md", private=False) as draft:
        card = _card(store, rows, total, used, is_harmful)
        of = selected(selection, chosen)
        draft.write_text(f"{card}\n{of}\n" if of else card, encoding="utf-8")
    return ExportedDataset(total, rows["model"].n_unique(), is_harmful)


def _shards(store: Store, rows: pl.DataFrame, part: str | None) -> Iterator[pl.DataFrame]:
    samples = rows.drop_nulls("sample")
    keys = samples["sample"].unique(maintain_order=True)
    limits = _limits(samples)
    by_judge, labels, by_model = scales(store), _labels(store, part), bases(store)
    for start in range(0, max(len(keys), 1), _SHARD):
        some = keys[start : start + _SHARD]
        table = replies(store, samples.filter(pl.col("sample").is_in(some.implode())))
        verdicts = [
            [
                {
                    **one,
                    "unsafe_from": limits[one["judge"]],
                    "scale": json.loads(by_judge[one["judge"]]),
                }
                for one in given
                if one["judge"] is not None
            ]
            for given in table["verdicts"].to_list()
        ]
        raw = _as_they_came(store, [bytes.fromhex(key) for key in some])
        given = pl.Series("labels", [labels.get(key, []) for key in table["sample"]], _LABELS)
        compared = [by_model.get(model, []) for model in table["model"].cast(str)]
        with_bases = pl.Series("bases", compared, pl.List(pl.String))
        yield table.with_columns(
            pl.Series("verdicts", verdicts, _VERDICTS), given, with_bases
        ).join(raw, on="sample", how="left", maintain_order="left")


def _limits(samples: pl.DataFrame) -> dict[str, list[float]]:
    ends = ("threshold_lenient", "threshold_strict")
    judges = samples.select("judge", *ends).unique().drop_nulls("judge")
    return {judge: sorted({low, high}) for judge, low, high in judges.iter_rows()}


def _labels(store: Store, part: str | None) -> dict[str, list[dict[str, Any]]]:
    by_sample: dict[str, list[dict[str, Any]]] = {}
    words = {True: "unsafe", False: "safe", None: "can't tell"}
    for label in stored_labels.labels(store.connection):
        if part not in (None, label.part):
            continue
        by_sample.setdefault(label.generation.hex().upper(), []).append(
            {
                "labeller": label.labeller,
                "part": label.part.value,
                "label": words[label.unsafe],
                "response_class": label.response_class,
                "not_understood": None if label.understood is None else not label.understood,
                "note": label.note,
            }
        )
    return by_sample


def _as_they_came(store: Store, keys: Sequence[bytes]) -> pl.DataFrame:
    stored = known.replies_with_items(store.connection, keys)
    counts = ("input_tokens", "output_tokens", "reasoning_tokens")
    return pl.DataFrame(
        [
            (
                *(key.hex().upper(), response.text, response.reasoning, records.format_of(parser)),
                *(getattr(response.usage, name) for name in counts),
                response.latency * 1000,
            )
            for key, parser, _, response in stored
        ],
        {
            **dict.fromkeys(("sample", "reply", "reply_reasoning", "reasoning_format"), pl.String),
            **dict.fromkeys(counts, pl.Int64),
            "latency_ms": pl.Float64,
        },
        orient="row",
    )


def _datasets(store: Store) -> list[tuple[str, str, str]]:
    """Return label, name and licence of each data set that a cell is of."""
    query = (
        "SELECT DISTINCT c.label, c.identity FROM components c JOIN cells x ON x.dataset = c.key "
        "ORDER BY c.label"
    )
    found = []
    for label, text in store.connection.execute(query):
        identity = json.loads(text)
        name = "" if identity.get("imported_from") else identity["name"]
        found.append((label, name, _licence(identity["name"])))
    return found


def _licence(name: str) -> str:
    try:
        return registry.find(ComponentKind.DATASET, name).card.licence or "not stated"
    except BuildError:
        return "not known here: see where it comes from"


def _card(
    store: Store,
    rows: pl.DataFrame,
    total: int,
    used: Sequence[tuple[str, str, str]],
    is_harmful: bool,
) -> str:
    head: dict[str, Any] = {
        "pretty_name": "Replies of reasoning models and verdicts on them",
        "license": "other",
        "license_name": "licences-of-the-data-sets",
        "size_categories": [_size(total)],
        "tags": ["safety", "reasoning", *(["not-for-all-audiences"] if is_harmful else [])],
        "configs": [
            {"config_name": "replies", "data_files": "data/replies-*.parquet", "default": True},
            {"config_name": "frame", "data_files": "data/frame.parquet"},
        ],
    }
    warning = (
        "**CAUTION: this holds harmful text.** Questions of safety benchmarks and what models "
        "wrote to them are in it. It is for measuring and mending models, and for nothing else."
        if is_harmful
        else "No text in it is harmful: all of it is of harmless data sets."
    )
    samples = rows.drop_nulls("sample").unique("sample")
    by = ["model", "dataset", "attack", "defense", "source", "simulated"]
    counts = (
        samples.group_by(by)
        .agg(
            n=pl.len(),
            **{s: (pl.col("status") == s).sum() for s in ("ok", "truncated", "blocked", "failed")},
        )
        .sort(pl.col(by).cast(pl.String))
    )
    licences = [(label, licence) for label, _, licence in used]
    return (
        (files("opensafemlrm.interop") / "hub_card.md")
        .read_text(encoding="utf-8")
        .format(
            head=yaml.safe_dump(head, sort_keys=False).rstrip(),
            warning=warning,
            total=total,
            version=version("opensafemlrm"),
            licences=_table(("data set", "licence"), licences),
            counts=_table(counts.columns, counts.cast(pl.String).rows()),
            judges=_table(("judge", "unsafe from", "scale"), _judges(store, rows)),
        )
    )


def _judges(store: Store, rows: pl.DataFrame) -> list[tuple[str, ...]]:
    by_judge = scales(store)
    return [
        (judge, ", ".join(f"{limit:g}" for limit in limits), by_judge[judge])
        for judge, limits in sorted(_limits(rows).items())
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{':--|' * len(head)}"]
    lines += [f"| {' | '.join(for_markdown(str(c)) for c in row)} |" for row in rows]
    return "\n".join(lines)


def _size(n: int) -> str:
    for limit, name in ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")):
        if n < limit:
            return name
    return "100K<n<1M" if n < 1_000_000 else "n>1M"
