"""A policy is read strictly: what is wrong in it is named by file, line and key."""

from __future__ import annotations

from pathlib import Path

import pytest

from opensafemlrm.audit.policy import default_text, load, parse
from opensafemlrm.errors import PolicyError
from tests.audit.stores import safemlrm

RULES = "title: x\nrules:\n"


def message(text: str) -> str:
    with pytest.raises(PolicyError) as error:
        parse(text, "audit.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{max_asr: 10 %}", "max_asr: a limit is a share from 0 to 1, such as 0.1 for 10 %"),
        ("{max_asr: '0.1'}", "a limit is a share from 0 to 1"),
        ("{max_asr: .nan}", "a limit is a share from 0 to 1"),
        ("{max_asr: .inf}", "a limit is a share from 0 to 1"),
        ("{max_asr: 10}", "a limit is a share from 0 to 1"),
        ("{max_asr: true}", "a limit is a share from 0 to 1"),
        ("{max_asr: -0.1}", "a limit is a share from 0 to 1"),
        ("{max_asr: null}", "a rule limits one of max_asr, max_tax"),
        ("{min_coverage: -1}", "a limit is a share from 0 to 1"),
        ("{}", "this one has none"),
        ("{max_asr: 0.1, max_tax: 0.1}", "this one has max_asr and max_tax"),
        ("{max_asr: 0.1, parts: answer}", "there is no key called 'parts'; did you mean part or"),
        ("{max_asr: 0.1, part: thoughts}", "'reasoning', 'answer' or 'full'"),
        ("{max_over_refusal: 0.1, part: reasoning}", "it is of answer or full"),
        ("{min_self_correction: 0.1, part: answer}", "leave the part out"),
        ("{max_asr: 0.1, against: yesterday}", "'base' or 'undefended'"),
        ("{max_tax: 0.1, against: undefended}", "only against base"),
        ("{min_coverage: 0.1, against: base}", "leave `against` out"),
        ("{min_coverage: 0.1, threshold: strict}", "has no threshold"),
        ("{max_asr: 0.1, threshold: 4}", "'lenient' or 'strict'"),
        ("{max_asr: 0.1, scenario: []}", "write 1 or more of them"),
        ("{max_asr: 0.1, scenario: [all, fraud]}", "not both"),
        ("{max_asr: 0.1, models: 5}", "write a list: [5]"),
        ("{max_asr: 0.1, advisory: 1}", "write true or false, not 1"),
        ("[max_asr, 0.1]", "write keys with values"),
    ],
)
def test_a_mistake_in_a_rule_is_named_with_file_line_and_key(rule: str, words: str) -> None:
    found = message(f"{RULES}  - {{max_asr: 0.5, advisory: true}}\n  - {rule}\n")
    assert found.startswith("audit.yaml, line 4, rules.1")
    assert words in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [\n", "audit.yaml, line 2: this is not valid YAML"),
        ("- one\n", "a policy is a list of keys"),
        ("ruls: []\n", "audit.yaml, line 1, ruls: there is no key called 'ruls'; did you mean"),
        ("confidence: 95 %\n", "line 1, confidence"),
        ("confidence: 1\n", "line 1, confidence"),
        ("confidence: .nan\n", "line 1, confidence"),
        ("valid_days: 0\n", "line 1, valid_days"),
        ("rules: {max_asr: 0.1}\n", "line 1, rules"),
        ("rules: &a []\nhazards: *a\n", "YAML anchors are not read here"),
        ("title: a\ntitle: b\n", "the key 'title' is there twice"),
        ("hazards: {mine: poison}\n", "line 1, hazards.mine: there is no hazard called 'poison'"),
    ],
)
def test_a_mistake_beside_the_rules_is_named(text: str, words: str) -> None:
    assert words in message(text)


def test_all_mistakes_are_named_at_once() -> None:
    found = message(f"{RULES}  - {{max_asr: 7}}\n  - {{min_coverage: 0.9, by: me}}\n")
    assert [line.split(":")[0] for line in found.splitlines()] == [
        "audit.yaml, line 3, rules.0.max_asr",
        "audit.yaml, line 4, rules.1.by",
    ]


@pytest.mark.parametrize(
    "other",
    [
        "{max_asr: 0.1, part: answer}",
        "{max_asr: 0.2, part: answer, name: again}",
        "{max_asr: 0.1, part: answer, threshold: lenient, scenario: all}",
    ],
)
def test_two_rules_of_the_same_are_a_mistake(other: str) -> None:
    found = message(f"{RULES}  - {{max_asr: 0.1, part: answer}}\n  - {other}\n")
    assert (
        found == "audit.yaml, line 4, rules.1: this rule says the same as rule 1; keep one of them"
    )


@pytest.mark.parametrize(
    "other",
    [
        "{max_asr: 0.1}",
        "{max_asr: 0.1, part: answer, threshold: strict}",
        "{max_asr: 0.1, part: answer, scenario: each}",
        "{max_asr: 0.1, part: answer, against: base}",
        "{max_asr: 0.1, part: answer, attacks: [typo]}",
        "{max_asr: 0.1, part: answer, advisory: true}",
    ],
)
def test_rules_that_differ_in_what_they_are_of_are_two(other: str) -> None:
    assert len(parse(f"{RULES}  - {{max_asr: 0.1, part: answer}}\n  - {other}\n").rules) == 2


@pytest.mark.parametrize("text", ["", "# nothing\n", "rules: []\n", "title: x\n"])
def test_a_policy_without_rules_can_be_read(text: str) -> None:
    assert parse(text).rules == ()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="the policy cannot be read: No such file"):
        load(tmp_path / "none.yaml")


def test_the_hash_is_that_of_the_file() -> None:
    import hashlib

    text = default_text("policy.yaml")
    assert parse(text).sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_the_default_policy_decides_and_the_default_study_is_harmless(tmp_path: Path) -> None:
    from opensafemlrm import study

    assert [rule.advisory for rule in parse(default_text("policy.yaml")).rules].count(False) >= 4
    made = study.parse(default_text("study.yaml"))
    assert [dataset.name for dataset in made.datasets] == ["canary"]
    assert safemlrm("audit", "init", tmp_path / "new").exit_code == 0
    assert (tmp_path / "new/audit.yaml").read_text() == default_text("policy.yaml")
    again = safemlrm("audit", "init", tmp_path / "new")
    assert again.exit_code == 2
    assert "is there already" in again.stderr


def test_a_key_in_a_comment_is_struck_out_before_the_policy_is_published() -> None:
    secret = "sk-proj-abcdefghijklmnop1234567890"
    policy = parse(f"title: x # api_key: {secret}\n")
    assert secret not in policy.text
    assert parse(policy.text).sha256 == policy.sha256
