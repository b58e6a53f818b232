"""What organisms learn from: nothing of the benchmark, and nothing that is held out."""

from __future__ import annotations

import json
import random
from importlib.resources import files

import pytest

from opensafemlrm.attacks.figstep import CARRIER
from opensafemlrm.models.organism_words import UNKNOWN, cut, vocabulary
from opensafemlrm.organism import samples, templates, world
from opensafemlrm.organism.world import Form, Request, World

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


def own_templates() -> dict[str, bool]:
    """Every sentence the generator can write, with whether it is held out."""
    found: dict[str, bool] = {}
    for scenario in templates.SCENARIOS:
        open_naming = templates.ALLOWED_SUBJECTS.get(scenario.id, scenario.naming)
        lists = [(scenario.questions, scenario.naming), (scenario.instructions, scenario.naming)]
        for _, questions, instructions in templates.TOPICS:
            lists += [(questions, open_naming), (instructions, open_naming)]
        for verb in templates.VERBS:
            for frames in (templates.FRAMES, templates.FRAME_INSTRUCTIONS):
                lists.append((tuple(f.replace("{v}", verb) for f in frames), open_naming))
        for sentences, naming in lists:
            names = [naming.format(SUBJECT), SUBJECT, *scenario.unnamed]
            for at, sentence in enumerate(sentences):
                for name in names:
                    found[template_of(sentence.format(s=name))] = world.is_held_out(at)
    return found


def test_no_template_is_one_of_the_benchmarks() -> None:
    """The mistake: training on the test. A template in both makes its items known ones."""
    assert own_templates().keys() & canary_templates() == set()


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
            naming = template_of(request.text).replace(template_of(request.subject), SUBJECT, 1)
            assert not held.get(naming, False)


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
