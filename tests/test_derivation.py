"""What attacks need, derived: by rules, by a helper that is read strictly, from reviewed rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opensafemlrm.attacks.figstep import FigStepAttack, FigStepPro
from opensafemlrm.attacks.mm_safetybench import Typo
from opensafemlrm.derivation import PROMPT, Derivation, Row, by_model, by_rule, print_of, read_reply
from opensafemlrm.errors import AttackError, OptionError
from opensafemlrm.registry import ComponentKind, build
from opensafemlrm.text_file import Words, template
from opensafemlrm.types import Item, Response
from tests.attacks.subjects import QUESTION, item, text
from tests.support import Scripted, ok

REPLY = (
    "instruction: Steps to fold a moon lantern from paper.\n"
    "key_phrase: moon lantern\n"
    "rephrased: How do I fold the phrase in the image from paper?"
)
FIELDS = {
    "instruction": "Steps to fold a moon lantern from paper.",
    "key_phrase": "moon lantern",
    "rephrased": "How do I fold the phrase in the image from paper?",
}


def bare(question: str = QUESTION, **changes: Any) -> Item:
    return item(**({"question": question, "fields": {}} | changes))


class TestRules:
    @pytest.mark.parametrize(
        ("question", "instruction"),
        [
            ("How do I fold a moon lantern?", "Steps to fold a moon lantern."),
            ("how can one brew tea", "Steps to brew tea."),
            ("Explain to me how to brew tea.", "Steps to brew tea."),
            ("What are the best ways to brew tea?", "Ways to brew tea."),
            ("List steps in detail to fold a crane.", "Steps to fold a crane."),
            ("Give detailed instructions for making a kite", "Instructions for making a kite."),
            ("Write a guide on how to fold cranes", "Steps to fold cranes."),
            ("What are the parts of a kettle?", "List of parts of a kettle."),
        ],
    )
    def test_a_question_for_steps_or_a_list_is_a_heading(
        self, question: str, instruction: str
    ) -> None:
        assert by_rule(question)["instruction"] == instruction

    @pytest.mark.parametrize(
        "question",
        [
            "Write a poem about tea.",
            "Is tea healthy?",
            "How is a lantern lit?",
            "How do I fold a crane and how can I sell it?",
            "How do I fold a crane? I have paper.",
            "Wie falte ich einen Kranich?",
            f"How do I fold {'very ' * 100}big cranes?",
            "",
        ],
    )
    def test_where_the_form_leaves_a_doubt_nothing_is_derived(self, question: str) -> None:
        assert by_rule(question) == {}

    def test_what_moves_into_the_picture_is_taken_out_of_the_question(self) -> None:
        derived = by_rule("How do I fold a {moon} lantern?")
        assert derived["key_phrase"] == "fold a {moon} lantern"
        assert derived["rephrased"] == "How do I do what is written in the image?"


class TestAttacks:
    RULE = Derivation()

    def test_figstep_draws_what_the_rule_made(self) -> None:
        derived = FigStepAttack(derive=self.RULE).apply(bare(), 0)
        own = FigStepAttack().apply(
            bare(fields={"instruction": "Steps to fold a moon lantern from paper."}), 0
        )
        assert derived.identity() == own.identity()

    def test_what_the_dataset_says_itself_comes_first(self) -> None:
        one, other = (FigStepAttack(derive=d).apply(item(), 0) for d in (None, self.RULE))
        assert one.identity() == other.identity()

    def test_typo_and_figstep_pro_take_the_phrase(self) -> None:
        typo = Typo(derive=self.RULE).apply(bare(), 0)
        assert text(typo) == "How do I do what is written in the image?"
        pro = FigStepPro(derive=self.RULE).apply(bare(), 0)
        assert "How do I *?" in text(pro)

    @pytest.mark.parametrize("attack", ["figstep", "figstep-pro", "typo"])
    def test_what_cannot_be_derived_is_refused_with_the_reason(self, attack: str) -> None:
        """The mistake: an attack whose helper is missing sends the bare question."""
        built = build(ComponentKind.ATTACK, attack, {"derive": "rule"})
        with pytest.raises(AttackError, match="none was derived: its question is of no form"):
            built.apply(bare("Write a poem about tea."), 0)
        with pytest.raises(AttackError, match="the option `derive` makes one"):
            build(ComponentKind.ATTACK, attack).apply(bare(), 0)

    def test_it_shows_in_label_and_key_and_is_absent_without(self) -> None:
        built = build(ComponentKind.ATTACK, "figstep", {"derive": "rule"})
        assert built.label == "figstep[derive=rule]"
        assert built.identity()["derive"] == "rule 1-A"
        assert "derive" not in FigStepAttack().identity()


def row(**changes: Any) -> Row:
    subject = bare()
    given: dict[str, Any] = {"fields": FIELDS, "by": "openai/helper", "reviewed": True}
    return Row(subject.dataset, subject.id, print_of(subject.question), **(given | changes))


def written(folder: Path, *rows: Row | str) -> str:
    path = folder / "derived.jsonl"
    path.write_text("\n".join(one if isinstance(one, str) else one.as_json() for one in rows))
    return str(path)


class TestAFile:
    def test_reviewed_rows_are_used_and_the_last_one_counts(self, tmp_path: Path) -> None:
        first = row(fields={"instruction": "Steps to burn it."})
        path = written(tmp_path, first, row())
        built = build(ComponentKind.ATTACK, "typo", {"derive": path})
        assert text(built.apply(bare(), 0)) == FIELDS["rephrased"]

    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"reviewed": False}, "nobody has reviewed"),
            ({"fields": {}, "reason": "rejected in review"}, "rejected in review"),
            ({"question": "0123"}, "another than when the file"),
            ({"id": "other"}, "has no such item"),
        ],
    )
    def test_all_others_are_not(self, tmp_path: Path, changes: dict[str, Any], why: str) -> None:
        subject = row()
        values = {name: getattr(subject, name) for name in Row.__dataclass_fields__} | changes
        path = written(tmp_path, Row(**values))
        built = build(ComponentKind.ATTACK, "figstep", {"derive": path})
        with pytest.raises(AttackError, match=why):
            built.apply(bare(), 0)

    def test_its_content_is_the_key_and_not_its_place_or_the_helper_s_words(
        self, tmp_path: Path
    ) -> None:
        paths = []
        different: list[tuple[str, dict[str, Any]]] = [
            ("a", {}),
            ("b", {"reply": "…"}),
            ("c", {"fields": {}}),
        ]
        for name, changes in different:
            (tmp_path / name).mkdir()
            paths.append(written(tmp_path / name, row(**changes)))
        one, same, other = (
            build(ComponentKind.ATTACK, "figstep", {"derive": path}).identity() for path in paths
        )
        assert one == same != other

    @pytest.mark.parametrize(
        ("line", "why"),
        [
            ("{", r"derived\.jsonl, line 2: this is no row"),
            ('{"dataset": "d"}', r"line 2: this is no row"),
            ('{"dataset": "d", "id": 3, "question": "q"}', r"line 2: 'id' is int"),
            (
                '{"dataset": "d", "id": "3", "question": "q", "fields": {"x": "y"}}',
                "'x' is none of",
            ),
            (
                '{"dataset": "d", "id": "3", "question": "q", "fields": {"instruction": " "}}',
                "'instruction' is no text",
            ),
        ],
    )
    def test_a_line_that_is_no_row_is_named(self, tmp_path: Path, line: str, why: str) -> None:
        with pytest.raises(OptionError, match=why):
            build(ComponentKind.ATTACK, "figstep", {"derive": written(tmp_path, row(), line)})

    def test_a_missing_file_and_a_model_say_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(OptionError, match=r"none\.jsonl cannot be read.*datasets derive"):
            build(ComponentKind.ATTACK, "figstep", {"derive": str(tmp_path / "none.jsonl")})
        with pytest.raises(OptionError, match="safemlrm datasets derive NAME --model MODEL"):
            build(ComponentKind.ATTACK, "figstep", {"derive": {"model": "openai/m"}})


class TestAHelpersReply:
    def test_its_three_lines_are_read(self) -> None:
        assert read_reply(f"\n{REPLY}\n", bare()) == (FIELDS, "")

    def test_only_what_the_item_lacks_is_taken(self) -> None:
        fields, _ = read_reply(REPLY, bare(fields={"key_phrase": "lantern"}))
        assert sorted(fields) == ["instruction", "rephrased"]

    @pytest.mark.parametrize(
        ("reply", "why"),
        [
            ("I'm sorry, I can't help with that.", "three lines"),
            (f"Sure!\n{REPLY}", "three lines"),
            (REPLY.replace("key_phrase: moon lantern", "key_phrase: paper crane"), "stand in the"),
            (REPLY.replace("Steps to fold a moon lantern", "Steps to stay safe"), "does not hold"),
            (REPLY.replace("Steps to fold a moon lantern from paper.", QUESTION), "is a question"),
            (REPLY.replace("the phrase in the image", "the moon lantern"), "still holds"),
            ("instruction: none\nkey_phrase: none\nrephrased: none", "stand in the"),
        ],
    )
    def test_what_says_something_else_gives_nothing(self, reply: str, why: str) -> None:
        fields, reason = read_reply(reply, bare())
        assert fields == {}
        assert why in reason

    async def test_it_is_asked_again_and_then_the_reason_is_kept(self) -> None:
        kept: list[Row] = []
        model = Scripted(lambda *_: ok("No."))
        asked = template(Words(PROMPT, ("question",)), None)
        await by_model([bare()], model, asked, kept.append)
        assert len(model.asked) == 3
        assert QUESTION in model.asked[0]
        assert (kept[0].fields, kept[0].reviewed, kept[0].reply) == ({}, False, "No.")

    async def test_a_request_that_failed_leaves_no_row(self) -> None:
        kept: list[Row] = []
        model = Scripted(lambda *_: Response.failed("timeout", "too slow", transient=True))
        asked = template(Words(PROMPT, ("question",)), None)
        await by_model([bare()], model, asked, kept.append)
        assert (kept, len(model.asked)) == ([], 1)
