"""The engine, whole: plan, attack, requests, splitting, three verdicts an item, the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from _measure import Measurement, arguments, png, question

from opensafemlrm import images
from opensafemlrm.api import run_blocking
from opensafemlrm.attacks.direct import Direct
from opensafemlrm.components import Dataset
from opensafemlrm.defenses.composed import NoDefense
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.judges.policy_rubric import PolicyRubric
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.store import Store
from opensafemlrm.study import Study
from opensafemlrm.types import Card, Image, Item, Sampling


@dataclass(frozen=True)
class Noise(Dataset):
    """Numbered questions about pictures of noise."""

    name: ClassVar[str] = "noise"
    version: ClassVar[str] = "1-A"
    card: ClassVar[Card] = Card(title="Noise", paper="this benchmark")
    items: int
    pictures: tuple[Image, ...] = field(compare=False)

    def rows(self) -> Iterator[Item]:
        """Yield the items."""
        for number in range(self.items):
            picture = self.pictures[number % len(self.pictures)]
            scenario = f"scenario {number % 10}"
            yield Item("noise", str(number), scenario, question(number), images=(picture,))


def picture(folder: Path, number: int) -> Image:
    """Write a picture of noise and load it as datasets do."""
    path = folder / f"{number}.png"
    path.write_bytes(png(number))
    return images.load(path, folder)


def main() -> None:
    """Bring an empty store up to date."""
    asked = arguments()
    pictures = tuple(picture(asked.folder, number) for number in range(asked.images))

    def served(name: str) -> OpenAICompatible:
        url = f"http://127.0.0.1:{asked.port}/{name}/v1"
        return OpenAICompatible(name, base_url=url, concurrency=asked.concurrency)

    study = Study(
        text="benchmark",
        models=(served("model"),),
        pairs=(),
        datasets=(Noise(asked.items, pictures),),
        attacks=(Direct(),),
        defenses=(NoDefense(),),
        judge=PolicyRubric(model=served("judge")),
        sampling=Sampling(max_tokens=1024),
    )
    measurement = Measurement()
    with Store.open(asked.folder / "store", "create") as store:
        plan = Plan.of(study)
        run_blocking(evaluate(plan, store))
    measurement.report(asked.folder / "store")
    tally = plan.cells[0].tally
    if tally.judged != asked.items or tally.unscored:
        raise SystemExit(f"not everything was judged: {tally}")


if __name__ == "__main__":
    main()
