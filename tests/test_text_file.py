"""Texts of the user's own: where they are read, what fills them, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opensafemlrm import study
from opensafemlrm.errors import OptionError, StudyError
from opensafemlrm.registry import ComponentKind, build, find, names
from opensafemlrm.text_file import WORDS, TextFile, Words, template
from tests.attacks.subjects import QUESTION, illustrated, item, shipped, text

TWO = Words("{question} {text}", ("question", "text", "token"), needed=("question", "text"))
PYTHON = '''
"""Somebody's evaluation."""
import torch  # not installed, and never imported

plain = "Fill it in."
joined = ("Question: %s"
    " Reply: %s")
added = "a" + "b"
worked_out = f"{plain}!"
number = 3


class First:
    def __init__(self):
        self.SYSTEM = "Think first."
        self.other = "one"


class Second:
    def __init__(self):
        self.SYSTEM = "Think first."
        self.other = "two"
'''


def file(folder: Path, content: str | bytes, name: str = "mine.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class TestReading:
    def test_a_file_is_read_as_it_stands(self, tmp_path: Path) -> None:
        read = TextFile.read(file(tmp_path, "\ufeffOne,\r\ntwo.\n"))
        assert read.text == "One,\ntwo.\n"

    @pytest.mark.parametrize(
        ("name", "found"),
        [
            ("plain", "Fill it in."),
            ("joined", "Question: %s Reply: %s"),
            ("added", "ab"),
            ("SYSTEM", "Think first."),
        ],
    )
    def test_a_python_file_is_parsed_and_not_run(
        self, tmp_path: Path, name: str, found: str
    ) -> None:
        path = file(tmp_path, PYTHON, "evaluation.py")
        assert TextFile.read(f"{path}#{name}").text == found

    @pytest.mark.parametrize(
        ("spec", "why"),
        [
            ("none.txt", "none.txt cannot be read: No such file"),
            ("empty.txt", "empty.txt is empty"),
            ("latin.txt", "latin.txt, line 2: byte 9 is not UTF-8"),
            ("code.py#missing", "code.py gives no text to the name 'missing'"),
            ("code.py#worked_out", "code.py, line 9: 'worked_out' is not a text"),
            ("code.py#number", "code.py, line 10: 'number' is not a text"),
            ("code.py#other", "different texts to 'other', on lines 16 and 22"),
            ("odd.py#name", "odd.py, line 2: this cannot be read as Python"),
        ],
    )
    def test_what_cannot_be_read_is_named_with_its_line(
        self, tmp_path: Path, spec: str, why: str
    ) -> None:
        file(tmp_path, " \n", "empty.txt")
        file(tmp_path, "Gruss.\nGrüße.".encode("latin-1"), "latin.txt")
        file(tmp_path, PYTHON, "code.py")
        file(tmp_path, "x = 1\nname = (", "odd.py")
        with pytest.raises(ValueError, match=r"^(the text file )?/") as error:
            TextFile.read(f"{tmp_path}/{spec}")
        assert why in str(error.value)


class TestPlaces:
    @pytest.mark.parametrize(
        ("written", "sent"),
        [
            ("Q {question} A {text}", "Q {text} A 100 %s"),
            ("Q {{question}} A {{text}}", "Q {text} A 100 %s"),
            ("Q {behavior} A {generation} %s {}", "Q {text} A 100 %s %s {}"),
            ("Q %s A %s 5%%", "Q {text} A 100 %s 5%"),
            ('{{"a": {}, "b": {}}}', '{"a": {text}, "b": 100 %s}'),
            (r"\{question} {question} {text} {'a': 1}", "{question} {text} 100 %s {'a': 1}"),
        ],
    )
    def test_they_are_filled_in_one_pass(self, written: str, sent: str) -> None:
        # The mistake: an item with {braces} or %s rewrites the prompt.
        filled = template(TWO, TextFile(written)).fill({"question": "{text}", "text": "100 %s"})
        assert filled == sent

    @pytest.mark.parametrize(
        ("written", "why"),
        [
            ("Q {question}\nA {reply}\n{text}", r"mine\.txt, line 2: .*the place \{reply\}"),
            ("Q {question}\n\n", r"mine\.txt, line 1: .* no place for \{text\}"),
            ("nothing at all", r"line 1: .* no place for \{question\} and \{text\}"),
            ("%s %s\n%s\n%s", r"mine\.txt, line 3: .*the place %s"),
        ],
    )
    def test_what_is_missing_or_unknown_is_named_with_its_line(
        self, tmp_path: Path, written: str, why: str
    ) -> None:
        given = TextFile.read(file(tmp_path, written))
        with pytest.raises(ValueError, match=why):
            template(TWO, given)


WITH_TEXTS = [
    (kind, name, option)
    for kind in (ComponentKind.ATTACK, ComponentKind.JUDGE)
    for name in names(kind)
    for option, field in find(kind, name).__dataclass_fields__.items()
    if WORDS in field.metadata
]


@pytest.mark.parametrize(("kind", "name", "option"), WITH_TEXTS)
class TestEveryTextOfEveryComponent:
    def test_an_unknown_place_is_an_error_of_the_study(
        self, kind: ComponentKind, name: str, option: str, tmp_path: Path
    ) -> None:
        path = file(tmp_path, "A\nB {no_such_place}")
        with pytest.raises(OptionError, match=rf"{option}|mine\.txt, line 2"):
            build(kind, name, {**_needs(kind, name, tmp_path), option: str(path)})

    def test_it_counts_by_content_and_the_project_s_own_stays_what_it_was(
        self, kind: ComponentKind, name: str, option: str, tmp_path: Path
    ) -> None:
        given = _needs(kind, name, tmp_path)
        words = find(kind, name).__dataclass_fields__[option].metadata[WORDS]
        places = " ".join(f"{{{{{one}}}}}" for one in words.needed)
        body = f"Own words. {places} {_closing(kind, name)}"
        one, two, other = (
            build(kind, name, {**given, option: str(file(tmp_path, content, title))})
            for content, title in ((body, "a.txt"), (body, "b.txt"), (f"{body}!", "c.txt"))
        )
        plain = build(kind, name, given)
        assert one.identity() == two.identity() != other.identity()
        assert one.identity() != plain.identity()
        assert one.label == two.label
        assert len({plain.label, one.label, other.label}) == 3
        assert option not in plain.identity()


def _needs(kind: ComponentKind, name: str, folder: Path) -> dict[str, Any]:
    if kind is ComponentKind.JUDGE:
        return {"model": "sim/judge"}
    if name == "cs-dj":
        from tests.attacks.subjects import folder as pictures

        return {"model": "sim/judge", "distractors": str(pictures(folder / "pictures"))}
    return {}


def _closing(kind: ComponentKind, name: str) -> str:
    """What a judge's prompt has to ask for."""
    rubrics = getattr(find(kind, name), "rubrics", None)
    return "" if rubrics is None else " ".join(f"#{mark.name}: x" for mark in rubrics[0].marks)


class TestAttacks:
    def test_figstep_sends_the_user_s_sentence(self, tmp_path: Path) -> None:
        path = file(tmp_path, "Fill in {numbers}, and 50% more.")
        attack = build(ComponentKind.ATTACK, "figstep", {"carrier": str(path)})
        assert text(attack.apply(item(), 0)) == "Fill in 1, 2, and 3, and 50% more."

    @pytest.mark.parametrize(
        ("encoding", "written", "sent"),
        [
            ("mirror", "Words: {}", "Words: ['"),
            ("words", "{} and {}", "{'teapot': 'lantern'} and ['"),
            ("words", "Map {map}.", "Map {'teapot': 'lantern'}."),
        ],
    )
    def test_mml_fills_in_words_and_map_as_its_authors_do(
        self, tmp_path: Path, encoding: str, written: str, sent: str
    ) -> None:
        options: dict[str, Any] = {"encoding": encoding, "carrier": str(file(tmp_path, written))}
        if encoding == "words":
            options["word_map"] = str(file(tmp_path, '{"lantern": "teapot"}', "map.json"))
        attack = build(ComponentKind.ATTACK, "mml", options)
        assert text(attack.apply(item(), 0)).startswith(sent)

    def test_mml_s_map_is_not_left_out(self, tmp_path: Path) -> None:
        options = {
            "encoding": "words",
            "word_map": str(file(tmp_path, '{"lantern": "teapot"}', "map.json")),
            "carrier": str(file(tmp_path, "Only {words}.")),
        }
        with pytest.raises(OptionError, match=r"mine\.txt: .*which words stand for which"):
            build(ComponentKind.ATTACK, "mml", options)

    def test_jood_and_hades_put_the_question_where_the_text_says(self, tmp_path: Path) -> None:
        prefix = str(file(tmp_path, "Two things: {question}", "prefix.txt"))
        jood = build(ComponentKind.ATTACK, "jood", {"carrier": prefix})
        assert text(jood.apply(illustrated(), 0)) == f"Two things: {QUESTION}"
        options = {
            "carrier": str(file(tmp_path, "It shows {article} {category}. {instruction}")),
            "behavior": str(file(tmp_path, "do it to", "behavior.txt")),
        }
        hades = build(ComponentKind.ATTACK, "hades", options)
        subject = shipped(fields={"keywords": "fold", "category": "behavior"})
        sent = "It shows a behavior. How do I do it to a moon lantern from paper?"
        assert text(hades.apply(subject, 0)) == sent

    @pytest.mark.parametrize("base", ["jood", "si-attack"])
    def test_what_stands_on_figstep_is_known_by_its_version_too(self, base: str) -> None:
        """The mistake: an attack's text changes, and what is built on it keeps old results."""
        built = build(ComponentKind.ATTACK, base, {"base": "figstep"})
        assert built.identity()["base_version"] == "2-A"
        assert "base_version" not in build(ComponentKind.ATTACK, base, {"base": "own"}).identity()


class TestModels:
    def test_a_system_prompt_can_be_the_text_of_a_file(self, tmp_path: Path) -> None:
        path = file(tmp_path, PYTHON, "exp.py")
        spec = {"file": f"{path}#SYSTEM"}
        model = build(ComponentKind.MODEL, "openai/m", {"system_prompt": spec, "api_key_env": "K"})
        assert model.system_prompt == "Think first."
        assert build(ComponentKind.MODEL, "openai/m", {"prefix": spec}).prefix == "Think first."
        with pytest.raises(OptionError, match=r"write FILE or \{file: FILE\}"):
            build(ComponentKind.MODEL, "openai/m", {"prefix": {**spec, "ends": "!"}})

    def test_a_mistake_names_the_line_of_the_study(self, tmp_path: Path) -> None:
        lines = (
            "models:\n  - {model: openai/m, system_prompt: {file: none.txt}}\n"
            "datasets: [canary]\njudge: canary\n"
            f"attacks:\n  - figstep\n  - {{attack: figstep, carrier: {tmp_path}/none.txt}}\n"
        )
        with pytest.raises(StudyError, match=r"none\.txt cannot be read") as error:
            study.parse(lines, "mine.yaml")
        assert "mine.yaml, line 2" in str(error.value)
        assert "mine.yaml, line 7" in str(error.value)
