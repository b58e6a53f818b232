"""``safemlrm doctor``: one harmless request to every model of a study, before it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opensafemlrm.cli._exit_codes import ExitCode
from opensafemlrm.cli._output import show

if TYPE_CHECKING:
    from opensafemlrm.components import Model
    from opensafemlrm.study import Study
    from opensafemlrm.types import Prompt, Response

_QUESTION: Final = "Which colour is the picture? Answer in one word."
_WITHOUT_PICTURE: Final = "Which colour is the sky on a clear day? Answer in one word."
_MAX_TOKENS: Final = 256
_NO_REASONING: Final = (
    "it should reason, and this reply holds no reasoning: set `format`, or look at what the server "
    "does with the marks"
)
_NO_END: Final = (
    "it should reason, and the reasoning of this whole reply never ends: set `format`, or look at "
    "what the server does with the marks"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of asking one model."""

    role: str
    """What the study uses it for: ``model``, or the component that asks it."""
    model: str
    well: bool
    outcome: str
    images: bool | None
    """Whether it takes images, where that was tried."""
    reasoning: str
    """How its reasoning was found in the reply, and what is known of it."""
    seconds: float | None
    detail: str


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(study: Annotated[Path, typer.Argument(help="The study file (YAML).")]) -> None:
    """Check every model and judge of a study.

    Each is asked one harmless question; nothing is written to a store. It exits with 2 if any of
    them cannot be used.
    """
    import asyncio

    import polars as pl

    from opensafemlrm import study as studies
    from opensafemlrm.report import Column, Form, Table

    findings = asyncio.run(examine(studies.load(study)))
    ill = sum(not finding.well for finding in findings)
    table = Table(
        name="doctor",
        title=f"{len(findings)} models asked, {ill} cannot be used",
        frame=pl.DataFrame(findings, infer_schema_length=None),
        columns=[
            Column("role", "Used as"),
            Column("model", "Model"),
            Column("outcome", "Outcome"),
            Column("reasoning", "Reasoning"),
            Column("seconds", "s", Form.NUMBER),
            Column("detail", "Detail"),
        ],
    )
    show([table])
    if ill:
        raise typer.Exit(ExitCode.UNUSABLE)


async def examine(study: Study) -> list[Finding]:
    """Ask every model of ``study`` once; they are closed afterwards."""
    import asyncio

    asked = list(_models(study))
    reasoners = {reasoner.label for reasoner, _ in study.pairs}
    bases = {base.label for _, base in study.pairs} - reasoners
    try:
        findings = await asyncio.gather(*(_examine(role, model) for role, model in asked))
        return [
            finding if finding.model in bases else _with_alarm(finding, model, reasoners)
            for finding, (_, model) in zip(findings, asked, strict=True)
        ]
    finally:
        for _, model in asked:
            await model.aclose()


def _with_alarm(finding: Finding, model: Model, reasoners: set[str]) -> Finding:
    """Say of a model that should reason if its reply held no reasoning, or one without an end.

    Reasoning that has not ended in a reply that was cut says nothing after so few tokens.
    """
    from opensafemlrm.analysis.traces import should_reason

    is_absent = finding.reasoning.startswith("absent")
    is_endless = finding.reasoning.startswith("unclosed") and finding.outcome.startswith("ok")
    if finding.role != "model" or not (is_absent or is_endless):
        return finding
    form = str(model.reasoning_format)
    if finding.model not in reasoners and not should_reason(finding.model, form):
        return finding
    alarm = _NO_REASONING if is_absent else _NO_END
    detail = ": ".join(filter(None, (finding.detail, alarm)))
    return dataclasses.replace(finding, detail=detail)


def _models(study: Study) -> Iterator[tuple[str, Model]]:
    """Yield each model once, with what the study uses it for first."""
    from opensafemlrm.components import Model, models_in

    asked: dict[int, tuple[str, Model]] = {}
    for component in (*study.models, study.judge, *study.attacks, *study.defenses):
        for model in models_in(component):
            role = "model" if isinstance(component, Model) else component.label.partition("[")[0]
            asked.setdefault(id(model), (role, model))
    for role, model in asked.values():
        yield role, model.unbatched()  # a batch would take hours to answer one question


async def _examine(role: str, model: Model) -> Finding:
    from opensafemlrm import images
    from opensafemlrm.errors import ModelError
    from opensafemlrm.types import Prompt

    try:
        if role != "model":
            return _finding(role, model, await _ask(model, Prompt.user(_WITHOUT_PICTURE)), None)
        from PIL import Image as PromptImages

        picture = images.from_picture(PromptImages.new("RGB", (64, 64), "blue"))
        response = await _ask(model, Prompt.user(picture, _QUESTION))
        if _is_well(response) or response.transient:
            return _finding(role, model, response, _is_well(response) or None)
        without = await _ask(model, Prompt.user(_WITHOUT_PICTURE))
        if _is_well(without):
            return _finding(role, model, response, images=False)
        return _finding(role, model, without, None)
    except ModelError as error:
        return Finding(role, model.label, False, "cannot be used", None, "", None, str(error))


async def _ask(model: Model, prompt: Prompt) -> Response:
    from opensafemlrm.types import Sampling

    return await model.generate(prompt, Sampling(max_tokens=_MAX_TOKENS))


def _is_well(response: Response) -> bool:
    from opensafemlrm.types import ResponseStatus

    # A reply cut at so few tokens has shown what it was asked for.
    return response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)


def _finding(role: str, model: Model, response: Response, images: bool | None) -> Finding:
    from opensafemlrm import reasoning

    well = _is_well(response)
    said = ""
    if well:
        trace = reasoning.parse(response, model.reasoning_format)
        said = f"{trace.status.value} ({trace.found_by})" if trace.found_by else trace.status.value
    outcome = response.status.value
    if images is False:
        outcome = f"{outcome}: takes text, but not images"
    detail = ": ".join(filter(None, (response.code, response.detail)))
    return Finding(role, model.label, well, outcome, images, said, response.latency, detail)
