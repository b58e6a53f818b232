"""The table of cost."""

from __future__ import annotations

from collections.abc import Sequence

from opensafemlrm.analysis.cost import CostRow
from opensafemlrm.report.columns import condition_columns, notes
from opensafemlrm.report.tables import Column, Form, Table, WhenConstant, unneeded_fields


def cost_table(rows: Sequence[CostRow]) -> Table:
    """Return the table of what each cell took."""
    left_out = unneeded_fields(rows)
    return Table(
        name="cost",
        title="Cost: requests, tokens and time",
        row_type=CostRow,
        rows=rows,
        columns=[
            *condition_columns(left_out, "model"),
            Column("samples", "samples", Form.COUNT),
            Column("requests", "requests", Form.COUNT),
            Column("extra_requests", "extra", Form.COUNT, WhenConstant.DROP_IF_ZERO),
            Column("retries", "retries", Form.COUNT, WhenConstant.DROP_IF_ZERO),
            Column("usage_known", "with usage", Form.COUNT),
            Column("input_tokens", "in", Form.COUNT),
            Column("output_tokens", "out", Form.COUNT),
            Column("reasoning_tokens", "reasoning", Form.COUNT),
            Column("seconds", "seconds", Form.NUMBER),
            Column("judge_requests", "judge requests", Form.COUNT),
            Column("judge_input_tokens", "judge in", Form.COUNT, WhenConstant.DROP_IF_ZERO),
            Column("judge_output_tokens", "judge out", Form.COUNT, WhenConstant.DROP_IF_ZERO),
            Column("judge_share", "judge %", Form.PERCENT, WhenConstant.DROP_IF_ZERO),
            Column("price", "US$", Form.NUMBER, WhenConstant.DROP_IF_ZERO),
        ],
        caption="in, out: tokens as the servers counted them; reasoning: those of the output; "
        "with usage: samples whose server said. seconds: the sum of all requests' times.",
        notes=notes(
            rows,
            "extra: requests of attacks that search and of defenses."
            if any(row.extra_requests for row in rows)
            else "",
            "judge %: the judge's share of all tokens."
            if any(row.judge_share for row in rows)
            else "",
        ),
        left_out=left_out,
    )
