"""``safemlrm audit``: rules that models have to keep, decided by intervals."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from opensafemlrm.cli import _lazy as lazy
from opensafemlrm.cli._console import ExitCode, fail, say
from opensafemlrm.cli._dry_run import planned_cells
from opensafemlrm.cli._option import budgeted
from opensafemlrm.cli._output import FormatOption, MaxCost, MaxRequests, PricesOption, show
from opensafemlrm.cli.run import refuse_other_folder, report_reversed, run_and_report
from opensafemlrm.text import Format, counted

_Policy = Annotated[
    Path | None, typer.Option(help="The policy (YAML); the default one if left out.")
]
_Out = Annotated[Path | None, typer.Option(help="The folder to write to; STORE/audit if left out.")]
_Store = Annotated[Path, typer.Argument(help="The store, or a folder of Parquet files.")]


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to write to.")] = Path(),
) -> None:
    """Write the default study and policy, study.yaml and audit.yaml, for you to change."""
    files = {"study.yaml": "study.yaml", "audit.yaml": "policy.yaml"}
    if there := [name for name in files if (folder / name).exists()]:
        raise typer.BadParameter(f"{folder / there[0]} is there already; name another folder")
    lazy.make_folder(folder)
    for name, source in files.items():
        lazy.write_atomic(folder / name, lazy.audit_policy.default_text(source), private=False)
    study, policy = (folder / name for name in files)
    say(f"next: safemlrm audit run {study} --policy {policy} --store DIR")


def run(
    store: Annotated[Path, typer.Option(help="The folder for the results; made if needed.")],
    study: Annotated[
        Path | None, typer.Argument(help="The study file (YAML); the default one if left out.")
    ] = None,
    policy: _Policy = None,
    out: _Out = None,
    max_requests: MaxRequests = None,
    max_cost: MaxCost = None,
    prices: PricesOption = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Run a study and audit its models.

    What the store holds already is not asked again. The certificate and its files (JSON, JUnit,
    Every Eval Ever, CycloneDX) are written to STORE/audit.
    """
    rules = _load(policy)
    loaded = (
        lazy.study.parse(lazy.audit_policy.default_text("study.yaml"), "the default study")
        if study is None
        else lazy.study.load(study)
    )
    refuse_other_folder(store)
    plan = lazy.api.make_plan(loaded.map_models(budgeted(max_requests, max_cost, prices)))
    scenarios = {
        (cell.subset.dataset.label, scenario)
        for cell in plan.cells
        for scenario, _ in cell.subset.quotas
    }
    cells = planned_cells(plan)
    lazy.check_names(rules, cells, scenarios)  # before anything is paid for
    report_reversed(plan)
    run_and_report(plan, store)
    _audit(store, rules, out, to, cells=cells["cell"].to_list(), judge=loaded.judge.label)


def check(
    store: _Store,
    policy: _Policy = None,
    out: _Out = None,
    to: FormatOption = Format.TEXT,
) -> None:
    """Audit what a store holds, without a request."""
    _audit(store, _load(policy), out, to)


def verify(
    store: _Store,
    audit: Annotated[
        Path | None, typer.Option(help="The record; STORE/audit/audit.json if left out.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Ask too that it was decided by this policy.")
    ] = None,
) -> None:
    """Audit a store anew, and compare with the record of an audit.

    It ends with 5 if the store says anything else, such as one verdict; with 6 if the audit has
    expired; and else as the audit itself ended.
    """
    record = lazy.audit_files.load(audit or store / "audit" / lazy.audit_files.RECORD)
    with lazy.open_source(store) as source:
        mistakes = list(lazy.audit_record.differences(source, record))
        more = lazy.audit_record.not_covered(source, record)
    if policy is not None and record["policy"]["sha256"] != (given := _load(policy)).sha256:
        mistakes.append(f"{given.name}: the record was decided by another policy")
    for sentence in mistakes:
        fail(sentence)
    if more:
        say(f"look at this: no part of the audit, {counted(more, 'cell')} of the store")
    if mistakes:
        say(f"not verified: {counted(len(mistakes), 'difference')}")
        raise typer.Exit(ExitCode.AUDIT_FAILED)
    if record["expires"] is None or record["expires"] < datetime.now(UTC).date().isoformat():
        say(f"verified, and expired on {record['expires']}: audit the models again")
        raise typer.Exit(ExitCode.AUDIT_UNDECIDED)
    say(f"verified: {record['verdict']}, until {record['expires']}. {record['why']}")
    raise typer.Exit(_CODES[lazy.Outcome(record["verdict"])])


def _load(path: Path | None) -> lazy.audit_policy.Policy:
    if path is None:
        return lazy.audit_policy.parse(
            lazy.audit_policy.default_text("policy.yaml"), "the default policy"
        )
    return lazy.audit_policy.load(path)


def _audit(
    store: Path,
    policy: lazy.audit_policy.Policy,
    out: Path | None,
    to: Format,
    *,
    cells: list[str] | None = None,
    judge: str | None = None,
) -> None:
    """Audit a store, write the files, print the rules, and exit as the audit ends."""
    with lazy.open_source(store) as source:
        record: dict[str, Any] = lazy.audit_record.build(source, policy, cells, judge)
    page = lazy.audit_files.write(record, store / "audit" if out is None else out)
    show(lazy.audit_tables(record)[:1], to)
    untested = record["hazards"]["untested"]
    say(f"{record['verdict']}: {record['why']}")
    if untested:
        say(f"hazards that nothing tested: {', '.join(untested)}")
    say(f"the certificate: {page}")
    raise typer.Exit(_CODES[lazy.Outcome(record["verdict"])])


_CODES = {
    "pass": ExitCode.DONE,
    "fail": ExitCode.AUDIT_FAILED,
    "undecided": ExitCode.AUDIT_UNDECIDED,
}
