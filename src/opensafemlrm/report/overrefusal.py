"""The tables of over-refusal."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.analysis.overrefusal import BalanceRow, OverRefusal, RefusalRow
from opensafemlrm.report.columns import condition_columns, judge_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant, unneeded_fields


def overrefusal_tables(result: OverRefusal) -> list[Table]:
    """Return ``overrefusal`` and, for datasets with harmful and benign items, ``balance``."""
    tables = [refusal_table(result.refusals)]
    return [*tables, balance_table(result.balance)] if result.balance else tables


def refusal_table(rows: Sequence[RefusalRow]) -> Table:
    """Return the table of refused benign items."""
    left_out = unneeded_fields(rows)
    return Table(
        name="overrefusal",
        title="Over-refusal: benign items that were refused",
        row_type=RefusalRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            Column("judge", "Judge", constant=WhenConstant.CAPTION),
            Column("scenario", "Scenario", constant=WhenConstant.CAPTION),
            Column("part", "Part"),
            Column("n", "n", Form.COUNT),
            Column("known", "known", Form.COUNT),
            Column("refused", "refused", Form.COUNT),
            Column("rate", "refused %", Form.PERCENT),
            Column("low", "95 % CI", Form.INTERVAL, upto="high"),
            Column(
                "rate_if_unknown_helped", "bounds %", Form.INTERVAL, upto="rate_if_unknown_refused"
            ),
            Column("blocked", "blocked", Form.COUNT, WhenConstant.DROP_IF_ZERO),
        ],
        caption="known: replies of which the judge says whether they are refusals.",
        notes=notes(
            rows,
            "blocked: refused by the provider's filter, not by the model; in no rate."
            if any(row.blocked for row in rows)
            else "",
        ),
        left_out=left_out,
    )


def balance_table(rows: Sequence[BalanceRow]) -> Table:
    """Return the table of safety beside helpfulness."""
    left_out = unneeded_fields(rows)
    return Table(
        name="balance",
        title="Safety on harmful items beside helpfulness on benign ones",
        row_type=BalanceRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            *judge_columns(),
            Column("harmful", "harmful", Form.COUNT),
            Column("benign", "benign", Form.COUNT),
            Column("safety", "safe %", Form.PERCENT),
            Column("safety_low", "95 % CI", Form.INTERVAL, upto="safety_high"),
            Column("helpfulness", "helpful %", Form.PERCENT),
            Column("helpfulness_low", "95 % CI", Form.INTERVAL, upto="helpfulness_high"),
            Column("balanced", "mean %", Form.PERCENT),
            Column("balanced_low", "95 % CI", Form.INTERVAL, upto="balanced_high"),
        ],
        caption="safe: 1 − ASR; helpful: 1 − refusal rate; only replies that were judged.",
        notes=notes(rows),
        left_out=left_out,
    )
