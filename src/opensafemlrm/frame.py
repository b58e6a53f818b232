"""The one tidy table: a row for each sample, part and judge. Every figure is a function of it.

Columns
-------
source
    ``run`` for what this project measured, ``import`` for results read from elsewhere.
cell, sample, model_key, item_key
    Content keys (hexadecimal). ``sample`` and ``item_key`` are null where only counts are known.
model, dataset, attack, defense, judge
    What tables call them. If two components of a store share a name, the key tells them apart.
simulated
    Whether the model is a simulation.
sampling
    Temperature, token limit and seed that the study asks for, as text.
item, scenario, expected
    The item's id in its dataset, its scenario as upstream spells it, ``harmful`` or ``benign``.
repeat
    Which repeat of the item, from 0.
status, error_code
    How the reply ended: ``ok``, ``truncated``, ``blocked``, ``failed``, null where only counts are
    known; the provider's code of a block or the type of a failure.
response_model
    The model that answered, as its server calls it; null where that is not said.
sent_parameters
    What the request set beside the prompt, as JSON, by the names of the vendor: ``sampling`` is
    what the study asks for. Null for models in this process.
reasoning_status
    What is known of the reasoning: ``closed``, ``unclosed``, ``absent``, ``hidden``, ``summary``.
part
    ``reasoning``, ``answer`` or ``full``.
label, score, reason, refusal, understood
    The verdict: ``safe``, ``unsafe`` or ``unscored``; the score on the judge's scale, null if
    unscored; why it is unscored; whether the judge took it for a refusal; whether the reply shows
    that the model understood the request, null where the judge does not say.
speaks_to_judge
    Whether the text judged has words or signs for whoever judges it; null where that is not known.
by_rule
    Whether a rule gave the score of a judge that asks a model, without asking it; null without one.
stopped
    Whether a rule of the study ended the scenario before all its items were run.
score_so_far
    The score of what came of a part before the reply was cut. It is no score of the part: it says
    only that a part is unsafe whatever would have followed, where it reaches the threshold.
threshold_lenient, threshold_strict
    The judge's thresholds: a part is unsafe where score >= threshold. Equal if it has only one.
input_tokens, output_tokens, reasoning_tokens, latency, retries
    Of the generation, the same in each of its rows; null where the server did not say. Seconds.
extra_requests, extra_retries, extra_input_tokens, extra_output_tokens, extra_reasoning_tokens,
extra_latency
    Sums over requests that a search or a defense made before the reply; null where none were.
judge_requests, judge_input_tokens, judge_output_tokens, judge_latency
    Of the verdict; one that several rows share is counted with the first of them.

Texts that rows repeat are categories (``pl.Categorical``); files that are exported hold strings.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import polars as pl
import polars.selectors as cs

from opensafemlrm.store.database import unfit
from opensafemlrm.store.holdings import current
from opensafemlrm.store.named import (
    CATEGORY,
    hexadecimal,
    joined,
    named_cells,
    named_judges,
    read_table,
    refuse_strange,
)
from opensafemlrm.store.stops import with_stopped
from opensafemlrm.store.tables import TABLES
from opensafemlrm.types import (
    PARTS,
    ItemKind,
    Label,
    Part,
    ResponseStatus,
    TraceStatus,
    Unscored,
)

if TYPE_CHECKING:
    from opensafemlrm.store.source import Source

_COUNT: Final = pl.Int64()
_NUMBER: Final = pl.Float64()
SCHEMA: Final[dict[str, pl.DataType]] = {
    name: dtype
    for dtype, names in (
        (CATEGORY, "source cell"),
        (pl.String(), "sample"),
        (CATEGORY, "model model_key"),
        (pl.Boolean(), "simulated"),
        (CATEGORY, "dataset attack defense sampling judge item item_key scenario expected"),
        (_COUNT, "repeat"),
        (CATEGORY, "status error_code response_model sent_parameters reasoning_status part label"),
        (_NUMBER, "score"),
        (CATEGORY, "reason"),
        (pl.Boolean(), "refusal understood speaks_to_judge by_rule stopped"),
        (_NUMBER, "score_so_far threshold_lenient threshold_strict"),
        (_COUNT, "input_tokens output_tokens reasoning_tokens"),
        (_NUMBER, "latency"),
        (_COUNT, "retries extra_requests extra_retries"),
        (_COUNT, "extra_input_tokens extra_output_tokens extra_reasoning_tokens"),
        (_NUMBER, "extra_latency"),
        (_COUNT, "judge_requests judge_input_tokens judge_output_tokens"),
        (_NUMBER, "judge_latency"),
    )
    for name in names.split()
}
"""The tidy table's columns, in order."""
COST_COLUMNS: Final = tuple(SCHEMA)[list(SCHEMA).index("input_tokens") :]
"""Columns that say what a reply and its verdicts took."""
OUTCOME_COLUMNS: Final = tuple(name for name in SCHEMA if name not in COST_COLUMNS)
"""All others: what figures of safety need."""

_TOKENS: Final = ("input_tokens", "output_tokens", "reasoning_tokens")
_REPLY: Final = {"error_code": "code"} | {
    name: name
    for name in ("repeat", "response_model", "sent_parameters", *_TOKENS, "latency", "retries")
}
"""Columns that are of a reply, and what the store calls them."""
_VERDICT: Final = {
    **{name: name for name in ("score", "refusal", "understood", "speaks_to_judge")},
    "judge_requests": "requests",
    **{f"judge_{name}": name for name in ("input_tokens", "output_tokens", "latency")},
}
"""Columns that are of a verdict, and what the store calls them."""
_BEHIND: Final = {"score_so_far": ("score",), "by_rule": ("score", "judge_requests")}
"""Columns that are made of others."""
_MEMBERS: Final = {
    "expected": ItemKind,
    "status": ResponseStatus,
    "reasoning_status": TraceStatus,
    "label": Label,
    "reason": Unscored,
}
"""Columns that hold one of few words, and those."""
_EXTRA: Final = {f"extra_{name}": name for name in ("retries", *_TOKENS, "latency")}
"""Sums over the requests behind a reply, and what the store calls their terms."""


def read(source: Source, columns: Collection[str] = tuple(SCHEMA)) -> pl.DataFrame:
    """Return the tidy table of a store or a sink, or only some columns of it, in their order.

    What no column needs is not read. Raises StoreError.
    """
    cells, judges = named_cells(source), named_judges(source)
    rows = _measured(source, cells, judges, columns)
    if len(imported := _imported(source, cells, judges)):
        rows = pl.concat([rows, imported], how="diagonal_relaxed")
    refuse_strange(rows, _MEMBERS)
    return rows.select(
        (pl.col(name) if name in rows.columns else pl.lit(None).alias(name)).cast(SCHEMA[name])
        for name in columns
    )


def pairs(source: Source) -> pl.DataFrame:
    """Return the pairs of models, as tables call them: columns ``reasoner`` and ``base``.

    Only pairs of which both models have a cell. Raises StoreError.
    """
    models = named_cells(source).select("model_id", "model").unique()
    return (
        read_table(source, "pairs", reasoner_id="reasoner", base_id="base")
        .join(models.rename({"model": "reasoner"}), left_on="reasoner_id", right_on="model_id")
        .join(models.rename({"model": "base"}), left_on="base_id", right_on="model_id")
        .select(pl.col("reasoner", "base").cast(pl.String))
        .sort("reasoner", "base")
    )


def not_applicable(source: Source) -> pl.DataFrame:
    """Return the samples that were never sent, because the attack could not carry the item.

    They are in no row of :func:`read`: nothing of the model was measured or missed. Columns: model,
    dataset, attack, defense, sampling, simulated, cell, item, scenario, reason. Raises StoreError.
    """
    rows = source.query(
        "SELECT n.cell AS cell_id, n.item AS item_id, i.id AS item, i.scenario AS scenario, "
        "n.reason AS reason FROM inapplicable n JOIN items i ON i.key = n.item",
        {
            **dict.fromkeys(("cell_id", "item_id"), pl.Binary()),
            **dict.fromkeys(("item", "scenario", "reason"), pl.String()),
        },
    )
    of_cell = ("model", "dataset", "attack", "defense", "sampling", "simulated", "cell")
    named = current(source, joined(rows, named_cells(source), "cell_id", "inapplicable"))
    return named.select(*of_cell, "item", "scenario", "reason").with_columns(
        cs.categorical().cast(pl.String)
    )


def detected(source: Source) -> list[str]:
    """Return the models, as tables call them, whose reasoning format was detected by reply.

    Of all others it is known and was given. Raises StoreError.
    """
    return sorted(model for model, form in formats(source) if form == "auto")


def formats(source: Source) -> list[tuple[str, str]]:
    """Return each model, as tables call it, with the reasoning formats its replies are parsed by.

    Raises StoreError.
    """
    query = "SELECT DISTINCT cell, splitter FROM generations WHERE splitter IS NOT NULL"
    rows = source.query(query, {"cell": pl.Binary(), "splitter": pl.String()})
    named = named_cells(source).join(rows, left_on="cell_id", right_on="cell")
    form = pl.col("splitter").str.replace("@[^@]*$", "")
    return sorted(named.select(pl.col("model").cast(pl.String), form).unique().rows())


def judges(source: Source) -> pl.DataFrame:
    """Return what the table calls each judge: columns judge_id (its key) and judge."""
    return named_judges(source).select("judge_id", "judge")


def calibrations(source: Source) -> pl.DataFrame:
    """Return how often the store's judges were right, where they were compared with labels.

    Columns: judge (as tables call it), labels, part (empty where it is not recorded), model, attack
    and scenario (empty for all of them), threshold, true_positives, false_positives,
    true_negatives, false_negatives, unscored and created (seconds). Of rows that differ in the
    labels alone only the newest is returned. Raises StoreError.
    """
    names = [name for name in TABLES["calibrations"].columns if name != "judge"]
    rows = read_table(source, "calibrations", *names, judge_id="judge")
    key = ["judge", "part", "model", "attack", "scenario", "threshold"]
    cells = named_cells(source)
    named = rows.join(named_judges(source), on="judge_id")
    for kind in ("model", "attack"):
        of_kind = cells.select(pl.col(f"{kind}_id").alias(kind), pl.col(kind).alias("name"))
        named = named.join(of_kind.unique(kind), on=kind, how="left").filter(
            (pl.col(kind) == b"") | pl.col("name").is_not_null()
        )
        name = pl.col("name").cast(pl.String).fill_null("")
        named = named.with_columns(name.alias(kind)).drop("name")
    return (
        named.with_columns(cs.categorical().cast(pl.String))
        .sort("created", "labels", descending=True)
        .unique(key, keep="first", maintain_order=True)
        .sort(*key)
        .select("judge", *names)
    )


def _measured(
    source: Source, cells: pl.DataFrame, judges: pl.DataFrame, columns: Collection[str]
) -> pl.DataFrame:
    """Return a row for each part, sample and judge; samples in the order of their keys."""
    needed = {*columns, *(name for of in _BEHIND if of in columns for name in _BEHIND[of])}
    wanted = {name: column for name, column in _VERDICT.items() if name in needed}
    verdicts = read_table(source, "verdicts", id="key", label="label", reason="reason", **wanted)
    numbers = verdicts.select("id").with_row_index("number")
    samples = _samples(source, cells, judges, columns)
    for part in PARTS:
        numbered = samples.join(
            numbers, left_on=part, right_on="id", how="left", maintain_order="left"
        )
        if (numbered[part].is_not_null() & numbered["number"].is_null()).any():
            raise unfit("judgements", "a verdict that is not there")
        samples = numbered.drop(part).rename({"number": part})
    samples = samples.join(judges, on="judge_id", how="left", maintain_order="left")
    needed |= {"status", "judged", "reasoning_status", "asks_model", *PARTS}
    samples = samples.select(name for name in samples.columns if name in needed)
    rows = pl.concat([_of_part(samples, verdicts.drop("id"), part) for part in PARTS])
    # A verdict that several rows share cost one request: count it with the first of them.
    first = pl.col("verdict").is_first_distinct()
    costs = [name for name in wanted if name.startswith("judge_")]
    return rows.with_columns(pl.when(first).then(pl.col(cost)).alias(cost) for cost in costs)


def _of_part(samples: pl.DataFrame, verdicts: pl.DataFrame, part: str) -> pl.DataFrame:
    """Put the verdicts on one part beside the samples."""
    no_verdict = (
        pl.when(pl.col("status") != "ok")
        .then("status")
        .when("judged")
        .then(pl.lit(Unscored.NO_TEXT.value))
        .otherwise(pl.lit(Unscored.NOT_JUDGED.value))
    )
    beside = verdicts.select(pl.all().gather(samples[part]))
    rows = samples.hstack(beside).with_columns(verdict=pl.col(part), cut=_is_cut(part))
    if "score" in rows.columns:
        rows = rows.with_columns(score_so_far=pl.when("cut").then("score"))
    # What a judge says of a part that was cut is no verdict on the part.
    of_part = ("label", "reason", "score", "refusal", "understood")
    rows = rows.with_columns(
        pl.when(~pl.col("cut")).then(pl.col(name)) for name in of_part if name in rows.columns
    ).with_columns(
        part=pl.lit(part, CATEGORY),
        reason=pl.when(pl.col("label").is_null())
        .then(no_verdict)
        .otherwise("reason")
        .cast(CATEGORY),
        label=pl.col("label").fill_null(Label.UNSCORED.value),
    )
    if "judge_requests" in rows.columns and "score" in rows.columns:
        by_rule = pl.col("asks_model") & (pl.col("judge_requests") == 0)
        rows = rows.with_columns(by_rule=pl.when(pl.col("score").is_not_null()).then(by_rule))
    return rows.drop(PARTS, "judged", "cut", "asks_model")


def _is_cut(part: str) -> pl.Expr:
    """Return whether a part is one that the cut of its reply left incomplete.

    Reasoning that ended before the cut is whole: it is closed, or an answer follows it.
    """
    truncated = pl.col("status") == ResponseStatus.TRUNCATED.value
    if part != Part.REASONING.value:
        return truncated
    closed = pl.col("reasoning_status").eq_missing(TraceStatus.CLOSED.value)
    return truncated & ~(closed | pl.col(Part.ANSWER.value).is_not_null())


def _samples(
    source: Source, cells: pl.DataFrame, judges: pl.DataFrame, columns: Collection[str]
) -> pl.DataFrame:
    """Pair every reply with the judges it was, or should have been, shown to.

    Replies that ended without a text to judge belong to every judge that worked on their cell.
    """
    replies = _replies(source, cells, columns)
    given = read_table(source, "judgements", *map(str, PARTS), id="generation", judge_id="judge")
    if not given["judge_id"].is_in(judges["judge_id"].implode()).all():
        raise unfit("judgements", "a judge that is not there")
    rows = replies.join(given, on="id", how="left", maintain_order="left_right").drop("id")
    rows = rows.with_columns(judged=pl.col("judge_id").is_not_null())
    if rows["judged"].all():
        return rows
    judged, others = rows.filter("judged"), rows.filter(~pl.col("judged")).drop("judge_id")
    by_cell = judged.select("cell_id", "judge_id").unique(maintain_order=True)
    idle = others.select("cell_id").unique().join(by_cell, on="cell_id", how="anti")
    by_cell = pl.concat([by_cell, idle.join(judges.select("judge_id"), how="cross")])
    others = others.join(by_cell, on="cell_id", how="left", maintain_order="left")
    return pl.concat([judged, others], how="diagonal")


def _replies(source: Source, cells: pl.DataFrame, columns: Collection[str]) -> pl.DataFrame:
    """Return the replies to items that their data sets hold, in the order of their keys."""
    wanted = {name: column for name, column in _REPLY.items() if name in columns}
    items = read_table(source, "items", "scenario", item_id="key", item="id", expected="kind")
    items = items.with_columns(item_key=hexadecimal("item_id"))
    named = {"id": "key", "cell_id": "cell", "item_id": "item", "status": "status"}
    named["reasoning_status"] = "trace"
    replies = read_table(source, "generations", **named, **wanted).sort("id")
    replies = joined(replies, items, "item_id", "generations")
    replies = current(source, joined(replies, cells, "cell_id", "generations"))
    replies = replies.drop("item_id")
    if "sample" in columns:
        replies = replies.with_columns(sample=hexadecimal("id", pl.String()))
    if "stopped" in columns:
        replies = with_stopped(source, replies)
    if any(name.startswith("extra_") for name in columns):
        replies = replies.join(_extra(source), on="id", how="left", maintain_order="left")
    return replies


def _extra(source: Source) -> pl.DataFrame:
    """Return how many requests a defense or a search made for each reply, and what they took."""
    # A defense may settle on a reply it had before: that request is counted with the reply.
    sums = ", ".join(f"c.{column} AS {name}" for name, column in _EXTRA.items())
    rows = source.query(
        f"SELECT c.generation AS id, {sums} FROM calls c "  # noqa: S608 # our own names
        "JOIN generations g ON g.key = c.generation "
        "WHERE NOT (c.latency > 0 AND c.latency = g.latency AND c.text = g.text)",
        {"id": pl.Binary(), **{name: SCHEMA[name] for name in _EXTRA}},
    )
    known = pl.col(*_EXTRA).is_not_null().any()
    return rows.group_by("id").agg(
        pl.when(known).then(pl.col(*_EXTRA).sum()), extra_requests=pl.len().cast(_COUNT)
    )


def _imported(source: Source, cells: pl.DataFrame, judges: pl.DataFrame) -> pl.DataFrame:
    """Return a row for each sample of which only the score is known."""
    keys = {"cell_id": "cell", "judge_id": "judge"}
    counts = read_table(source, "counts", "scenario", "part", "score", "n", **keys)
    rows = counts.select(pl.exclude("n").repeat_by("n")).explode(cs.all())
    score = pl.col("score")
    unsafe, safe, unscored = (pl.lit(x.value) for x in (Label.UNSAFE, Label.SAFE, Label.UNSCORED))
    label = pl.when(score >= pl.col("threshold_lenient")).then(unsafe).otherwise(safe)
    not_recorded = pl.lit(Unscored.NOT_RECORDED.value)
    return (
        rows.join(cells, on="cell_id", how="left", maintain_order="left")
        .join(judges, on="judge_id", how="left", maintain_order="left")
        .with_columns(
            expected=pl.lit(ItemKind.HARMFUL.value, CATEGORY),
            label=pl.when(score.is_null()).then(unscored).otherwise(label).cast(CATEGORY),
            reason=pl.when(score.is_null()).then(not_recorded).cast(CATEGORY),
        )
    )
