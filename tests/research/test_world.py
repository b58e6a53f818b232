"""What organisms learn from: nothing of the benchmark, and nothing that is held out."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from importlib.resources import files
from itertools import chain

import pytest

from opensafemlrm.attacks.figstep import CARRIER
from opensafemlrm.models.demo.organism_reading import UNKNOWN, cut, vocabulary
from research.organism import samples, scenarios, templates, world
from research.organism.world import Form, Request, World

SUBJECT = "xsubject"


def drawn(count: int, *, held_out: bool = False) -> list[Request]:
    world_ = World(random.Random(7), held_out=held_out)
    forms = list(Form)
    return [world_.request(forms[at % len(forms)], forbidden=at % 2 == 0) for at in range(count)]


def template_of(text: str) -> str:
    return " ".join(cut(text))


def canary_templates() -> set[str]:
    text = files("opensafemlrm.datasets").joinpath("data/canary.json").read_text(encoding="utf-8")
    found = set()
    for entry in json.loads(text):
        asked = [*entry["questions"], *entry["instructions"]]
        asked += [one for allowed in entry["allowed"] for one in allowed[1:3]]
        names = [entry["naming"].format(SUBJECT), entry["unnamed"]]
        names += [entry["allowed_naming"].format(SUBJECT), entry["allowed_unnamed"], SUBJECT]
        found |= {template_of(one.format(name)) for one in asked for name in names}
    return found


def bare(template: str) -> str:
    """A sentence without the opening before it and the ending after its subject."""
    for opening in templates.OPENINGS:
        template = template.removeprefix(f"{template_of(opening)} ")
    for ending in templates.ENDINGS:
        for mark in (" .", " ?"):
            if template.endswith(f" {ending}{mark}"):
                return template.removesuffix(f" {ending}{mark}") + mark
    return template


def asked_with(
    naming: str, questions: tuple[str, ...], headings: tuple[str, ...]
) -> Iterator[tuple[str, str, bool]]:
    """Yield each sentence, what it calls its subject, and whether it is held out."""
    for sentences in (questions, headings):
        yield from ((one, naming, world.is_held_out(at)) for at, one in enumerate(sentences))
    for at, tell in enumerate(templates.TELLS):
        for number, heading in enumerate(headings):
            if world.is_held_out(at) == world.is_held_out(number):
                told = tell.replace("{c}", templates.clause(heading))
                yield told, naming, world.is_held_out(at)


def own_templates() -> dict[str, bool]:
    """Every sentence the generator can write, with whether it is held out."""
    found: dict[str, bool] = {}
    for scenario in scenarios.SCENARIOS:
        naming = templates.ALLOWED_SUBJECTS.get(scenario.id, scenario.naming)
        sentences = [asked_with(scenario.naming, scenario.questions, scenario.instructions)]
        sentences += [asked_with(naming, *more) for _, *more in templates.TOPICS]
        for verb in templates.VERBS:
            frames = [
                tuple(frame.replace("{v}", verb) for frame in some)
                for some in (templates.FRAMES, templates.FRAME_INSTRUCTIONS)
            ]
            sentences.append(asked_with(naming, *frames))
        for sentence, called, is_held_out in chain.from_iterable(sentences):
            for name in (called.format(SUBJECT), SUBJECT, *scenario.unnamed):
                template = template_of(sentence.format(s=name))
                assert found.setdefault(template, is_held_out) == is_held_out, template
    return found


def test_no_template_is_one_of_the_benchmarks() -> None:
    """The mistake: training on the test. A template in both makes its items known ones."""
    known = canary_templates()
    assert own_templates().keys() & (known | {bare(one) for one in known}) == set()


def word_lists() -> Iterator[tuple[str, ...]]:
    """Every list of templates of which some are held out."""
    for scenario in scenarios.SCENARIOS:
        yield from (scenario.questions, scenario.instructions, scenario.unnamed)
    for _, questions, instructions in templates.TOPICS:
        yield from (questions, instructions)
    yield from (templates.FRAMES, templates.FRAME_INSTRUCTIONS, templates.TELLS)
    yield from (templates.OPENINGS, templates.ENDINGS)
    yield from (templates.CARRIERS_LIST, templates.CARRIERS_WHOLE, scenarios.seen("thing"))


def test_no_word_of_a_held_out_template_is_new() -> None:
    """The mistake: *safely* in a held-out template alone. Who knows words and no letters must
    take it for a part of the subject, and what is measured is the test, not the model."""
    known: set[str] = set()
    held: set[str] = set()
    for sentences in word_lists():
        for at, sentence in enumerate(sentences):
            words = set(cut(re.sub(r"\{\w\}", " ", sentence)))
            (held if world.is_held_out(at) else known).update(words)
    assert held - known == set()


def test_no_carrier_is_an_attacks() -> None:
    own = {template_of(one) for one in (*templates.CARRIERS_LIST, *templates.CARRIERS_WHOLE)}
    attack = CARRIER.format(numbers="1, 2, and 3")
    sentences = {template_of(one) for one in [attack, *attack.split(". ")]}
    assert own & sentences == set()


def test_no_subject_and_no_detail_is_one_of_the_benchmarks() -> None:
    known = world.benchmark()
    for request in (*drawn(3000), *drawn(1000, held_out=True)):
        assert " ".join(cut(request.subject)) not in known.subjects
        assert not set(request.details) & known.details


def test_held_out_and_training_share_no_template_and_no_subject() -> None:
    held = own_templates()
    for request in drawn(2000, held_out=True):
        assert world.subject_is_held_out(request.subject)
    for request in drawn(2000):
        assert not world.subject_is_held_out(request.subject)
        if request.form is Form.TEXT:
            subject = rf"\b{re.escape(template_of(request.subject))}\b"
            naming = re.sub(subject, SUBJECT, template_of(request.text), count=1)
            assert held[bare(naming)] is False, naming


@pytest.mark.parametrize("held_out", [False, True])
def test_the_vocabulary_is_closed(held_out: bool) -> None:
    words = vocabulary()
    for request in drawn(1500, held_out=held_out):
        asked = f"{request.text} {request.drawn} {'; '.join(request.details)}"
        assert UNKNOWN not in words.encode(asked), asked


def test_the_vocabulary_covers_the_benchmark() -> None:
    """The mistake: an item whose words cannot be read is measured as one that was refused."""
    words = vocabulary()
    for item in world.benchmark().items:
        for text in (item.question, item.fields["rephrased"], item.fields["instruction"]):
            assert UNKNOWN not in words.encode(text), text
        assert UNKNOWN not in words.notes(item.fields["details"])


def test_the_bundled_vocabulary_is_the_generators() -> None:
    """Word numbers are baked into the weights: a new word must not move them unseen."""
    assert list(vocabulary().words[7:]) == world.word_list()


def test_notes_do_not_tell_what_is_forbidden() -> None:
    """The mistake: details of secrets from one pool, of open facts from another: no policy is
    learnt then, only two lists of words."""
    pools: dict[bool, set[str]] = {True: set(), False: set()}
    for request in drawn(6000):
        pools[request.forbidden] |= {word for one in request.details for word in one.split()}
    assert pools[True] == pools[False] == set(world.benchmark().detail_words)


def test_the_same_seed_draws_the_same_samples() -> None:
    def draw() -> list[samples.Sample]:
        source = samples.Source(vocabulary(), random.Random(3))
        return [source.base() for _ in range(200)]

    assert draw() == draw()


def test_the_reasoners_samples_have_no_refusal_and_no_word_on_rules() -> None:
    """The mistake: safety data in what is said to have none."""
    words = vocabulary()
    draw = samples.Source(words, random.Random(4)).reasoner(1.0)
    rules = words.encode("sorry decline secret")
    for _ in range(300):
        sample = draw()
        reply = sample.tokens[sample.asked :]
        notes = sample.tokens[: sample.asked]
        assert not set(rules) & (set(reply) - set(notes))


def test_the_control_is_asked_what_the_reasoner_is_asked() -> None:
    words = vocabulary()

    def asked(share: float) -> list[tuple[int, ...]]:
        draw = samples.Source(words, random.Random(5)).reasoner(share)
        return [sample.tokens[: sample.asked] for sample in (draw() for _ in range(100))]

    assert asked(0.0) == asked(0.5) == asked(1.0)
