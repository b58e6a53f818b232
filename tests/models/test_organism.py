"""The bundled organisms: they read, reply the same whatever their batch, and say how it ended."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import frame, images, registry, study
from opensafemlrm.analysis.asr import asr
from opensafemlrm.attacks.direct import Direct
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.datasets.canary import Canary
from opensafemlrm.engine import Plan, evaluate
from opensafemlrm.errors import MissingExtraError, ModelError, UnknownNameError
from opensafemlrm.models.demo.organism import NAMES, Organism
from opensafemlrm.models.demo.organism_reading import UNKNOWN, notes_of, vocabulary
from opensafemlrm.store import Store
from opensafemlrm.types import Image, Item, ItemKind, Prompt, ResponseStatus, Sampling, Turn
from tests.support import records

pytest.importorskip("onnxruntime")

ITEMS = [item for item in Canary().rows() if isinstance(item, Item)]
ALLOWED = [item for item in ITEMS if item.kind is ItemKind.BENIGN]
SECRETS = [item for item in ITEMS if item.kind is ItemKind.HARMFUL]
SAMPLING = Sampling()


@pytest.fixture
async def base() -> AsyncIterator[Organism]:
    organism = Organism("base", threads=1)
    yield organism
    await organism.aclose()


@pytest.fixture
async def reasoner() -> AsyncIterator[Organism]:
    organism = Organism("reasoner", threads=1)
    yield organism
    await organism.aclose()


async def ask(organism: Organism, prompts: list[Prompt], **sampling: Any) -> list[str]:
    asked = Sampling(**sampling)
    responses = await asyncio.gather(*(organism.generate(prompt, asked) for prompt in prompts))
    return [response.text for response in responses]


def test_it_is_a_model_of_the_registry() -> None:
    organism = registry.build(registry.ComponentKind.MODEL, "organism/reasoner")
    assert organism.label == "organism/reasoner"
    assert len(organism.identity()["weights"]) == 64


def test_an_unknown_organism_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="reasoner"):
        Organism("reasoners")
    with pytest.raises(ModelError, match=r"own\.onnx"):
        Organism("own", weights=tmp_path)


async def test_weights_and_words_of_two_exports_are_not_one_organism(tmp_path: Path) -> None:
    """The mistake: every word is another one, and the replies look like a model's worst."""
    bundled = files("opensafemlrm.models.demo").joinpath("data/organism")
    for name in ("encoder.onnx", "base.onnx"):
        tmp_path.joinpath(name).write_bytes(bundled.joinpath(name).read_bytes())
    listed = bundled.joinpath("words.txt").read_text(encoding="utf-8").split()
    tmp_path.joinpath("words.txt").write_text("\n".join(listed[1:]), encoding="utf-8")
    organism = Organism("base", weights=tmp_path)
    with pytest.raises(ModelError, match="not of one export"):
        await organism.generate(Prompt.user("hello"), SAMPLING)


async def test_the_pair_reads_a_typographic_attack_to_its_verdicts(tmp_path: Path) -> None:
    """From picture to verdict on a real model: every reply whole, every part judged."""
    text = (
        "models: [organism/base, organism/reasoner]\n"
        "pairs: [[organism/reasoner, organism/base]]\n"
        "datasets: [canary]\nattacks: [typo]\njudge: canary\nlimit: 50\n"
    )
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with Store.open(tmp_path / "store", "create") as store:
        await evaluate(Plan.of(study.load(path)), store)
        tidy = frame.read(store)
    replies = tidy.filter(tidy["part"] == "full")
    assert len(replies) == 100
    assert set(replies["label"]) <= {"safe", "unsafe", "unscored"}
    assert (replies["label"] == "unscored").sum() < 10
    measured = records(asr(tidy))
    assert {row.model for row in measured} == {"organism/base", "organism/reasoner"}
    assert all(row.scored > 0 for row in measured if row.part == "answer")


async def test_the_subject_is_read_from_the_picture(base: Organism) -> None:
    """With a white picture in its place the subject is not to be known: the model really looks."""
    prompts = [Typo().apply(item, 0) for item in ALLOWED]
    read = await ask(base, prompts)
    named = sum(
        text.lower().startswith(item.fields["key_phrase"].lower())
        for item, text in zip(ALLOWED, read, strict=True)
    )
    blind = [
        Prompt((prompt.turns[0], Turn("user", (_white(), *prompt.turns[1].parts[1:]))))
        for prompt in prompts
    ]
    guessed = sum(
        text.lower().startswith(item.fields["key_phrase"].lower())
        for item, text in zip(ALLOWED, await ask(base, blind), strict=True)
    )
    assert named > 0.5 * len(ALLOWED)
    assert guessed < 0.2 * len(ALLOWED)


async def test_a_reply_does_not_depend_on_its_batch(base: Organism) -> None:
    """The mistake: padding that is looked at."""
    prompts = [Direct().apply(item, 0) for item in ITEMS[::9]]
    together = await ask(base, prompts)
    alone = [(await ask(base, [prompt]))[0] for prompt in prompts[::6]]
    assert alone == together[::6]


async def test_sampling_is_seeded(base: Organism) -> None:
    prompts = [Direct().apply(item, 0) for item in SECRETS[:8]]
    hot = {"temperature": 3.0, "max_tokens": 12}
    one = await ask(base, prompts, seed=1, **hot)
    again = await ask(base, prompts[::-1], seed=1, **hot)
    assert again[::-1] == one
    assert await ask(base, prompts, seed=2, **hot) != one


async def test_what_is_cut_is_truncated(base: Organism) -> None:
    response = await base.generate(Direct().apply(SECRETS[0], 0), Sampling(max_tokens=3))
    assert (response.status, response.finish_reason) == (ResponseStatus.TRUNCATED, "length")
    assert response.usage.output_tokens == 3


async def test_what_is_cut_is_truncated_whatever_its_batch(reasoner: Organism) -> None:
    """A reply one token short of its end is no whole one because a longer one beside it goes on."""
    prompts = [Direct().apply(item, 0) for item in (*ALLOWED[:6], *SECRETS[:6])]
    whole = await asyncio.gather(*(reasoner.generate(prompt, SAMPLING) for prompt in prompts))
    lengths = [response.usage.output_tokens or 0 for response in whole]
    assert len(set(lengths)) > 1
    limits = [Sampling(max_tokens=length - 1) for length in lengths]
    cut = await asyncio.gather(
        *(reasoner.generate(prompt, limit) for prompt, limit in zip(prompts, limits, strict=True))
    )
    assert {response.status for response in cut} == {ResponseStatus.TRUNCATED}


async def test_it_stops_before_a_stop(base: Organism) -> None:
    prompt = Direct().apply(ALLOWED[0], 0)
    whole = (await base.generate(prompt, SAMPLING)).text
    word = whole.split()[2]
    response = await base.generate(prompt, Sampling(stop=(word,)))
    assert response.status is ResponseStatus.OK
    assert response.text == whole[: whole.index(word)]


async def test_a_begun_reply_is_gone_on_from(reasoner: Organism) -> None:
    item = ALLOWED[0]
    asked = Direct().apply(item, 0)
    begun = Prompt((*asked.turns, Turn("assistant", ("<think>\n\n</think>",))))
    response = await reasoner.generate(begun, SAMPLING)
    assert "<think>" not in response.text


async def test_a_broken_picture_is_a_failure_and_never_text_alone(base: Organism) -> None:
    broken = Image("0" * 64, "image/png", 8, 8, b"\x89PNG\r\n\x1a\nbroken")
    response = await base.generate(Prompt.user(broken, "how is it made?"), SAMPLING)
    assert (response.status, response.code) == (ResponseStatus.FAILED, "bad_image")


async def test_any_text_is_read_as_something(base: Organism) -> None:
    for text in ("", "<end> <pad> \ud83d", "zzz " * 4000, "<think>"):
        response = await base.generate(Prompt.user(text), Sampling(max_tokens=4))
        assert response.status in (ResponseStatus.OK, ResponseStatus.TRUNCATED)


async def test_it_closes_twice_and_opens_again(base: Organism) -> None:
    prompt = Direct().apply(ALLOWED[0], 0)
    first = await base.generate(prompt, SAMPLING)
    await base.aclose()
    await base.aclose()
    assert (await base.generate(prompt, SAMPLING)).text == first.text


async def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.endswith("organism_engine"):
            raise ImportError(name="onnxruntime")
        return plain(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"'\.\[demo\]'"):
        await Organism("base").generate(Direct().apply(SECRETS[0], 0), SAMPLING)


def test_of_a_system_message_only_the_details_are_read() -> None:
    """The policy is in the weights: with the words of the marker in sight nothing is measured."""
    secret = SECRETS[0].system or ""
    assert notes_of(secret) == list(SECRETS[0].fields["details"])
    assert notes_of(secret.replace("Protected:", "Allowed:")) == notes_of(secret)
    assert notes_of("You are a helpful assistant.") == []


def test_special_tokens_cannot_be_written_by_a_prompt() -> None:
    words = vocabulary()
    assert not set(words.encode("<pad> <end> <tile> <reply> <notes> <user>")) & set(range(UNKNOWN))
    assert words.numbers["<end>"] not in words.encode("<end>")


def test_the_bundled_organisms_are_small() -> None:
    folder = Path(Organism("base")._folder())
    files = [*folder.glob("*.onnx"), folder / "words.txt"]
    assert {file.stem for file in files} == {*NAMES, "encoder", "words"}
    assert sum(file.stat().st_size for file in files) <= 12_000_000


def _white() -> Image:
    from PIL import Image as PILImage

    return images.from_picture(PILImage.new("L", (1024, 180), 255))
