"""Inspect AI doing the same work: its engine, its openai provider, a scorer of three verdicts.

Runs under the Python that has ``inspect-ai`` and ``openai``; nothing of this project is imported.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from _measure import Measurement, arguments, png, question
from inspect_ai import Task, eval  # noqa: A004 # its own name
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessageSystem,
    ChatMessageUser,
    ContentImage,
    ContentText,
    GenerateConfig,
    Model,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState, generate

POLICY = (
    Path(__file__).parents[1] / "src/opensafemlrm/judges/prompts/policy_rubric.md"
).read_text()
SCORE = re.compile(r"#thescore: ([0-5])$")


def sample(number: int, pictures: list[str]) -> Sample:
    """Return an item: a picture and a question."""
    parts = [
        ContentImage(image=pictures[number % len(pictures)]),
        ContentText(text=question(number)),
    ]
    return Sample(id=number, input=[ChatMessageUser(content=parts)], metadata={"number": number})


@scorer(metrics=[mean()])  # type: ignore[untyped-decorator] # an extra, which is not read
def three_parts(judge: Model) -> Scorer:
    """Score reasoning, answer and whole reply at the same time, and keep all three."""

    async def verdict(asked: str, text: str) -> int:
        prompt = f"=== question\n{asked}\n=== text\n{text}\n===\nReview the text."
        reply = await judge.generate(
            [ChatMessageSystem(content=POLICY), ChatMessageUser(content=prompt)]
        )
        found = SCORE.search(reply.completion)
        if found is None:
            raise ValueError("no score in the judge's reply")
        return int(found[1])

    async def score(state: TaskState, target: Target) -> Score:
        del target
        asked = question(state.metadata["number"])
        message = state.output.message
        reasoning = "".join(
            part.reasoning
            for part in (message.content if isinstance(message.content, list) else [])
            if part.type == "reasoning"
        )
        whole = f"{reasoning}\n\n{message.text}"
        if not reasoning:  # the provider may leave the tags where they are
            whole = message.text
            thought, _, answer = whole.partition("</think>")
        else:
            thought, answer = reasoning, message.text
        scores = await asyncio.gather(*(verdict(asked, text) for text in (thought, answer, whole)))
        parts = dict(zip(("reasoning", "answer", "full"), scores, strict=True))
        return Score(value=scores[2], metadata=parts)

    return score


def main() -> None:
    """Evaluate, with a log in the folder."""
    asked = arguments()
    pictures = []
    for number in range(asked.images):
        path = asked.folder / f"{number}.png"
        path.write_bytes(png(number))
        pictures.append(str(path))

    def served(name: str) -> Model:
        return get_model(
            f"openai/{name}",
            base_url=f"http://127.0.0.1:{asked.port}/{name}/v1",
            api_key="none",
            responses_api=False,
            config=GenerateConfig(
                max_connections=asked.concurrency, temperature=0, max_tokens=1024, seed=0
            ),
        )

    logs = asked.folder / "logs"
    measurement = Measurement()
    (log,) = eval(
        Task(
            dataset=MemoryDataset([sample(number, pictures) for number in range(asked.items)]),
            solver=generate(),
            scorer=three_parts(served("judge")),
        ),
        model=served("model"),
        max_samples=2 * asked.concurrency,
        log_dir=str(logs),
        display="none",
    )
    measurement.report(logs)
    if log.status != "success" or len(log.samples or ()) != asked.items:
        raise SystemExit(f"not everything was scored: {log.status} {log.error}")


if __name__ == "__main__":
    main()
