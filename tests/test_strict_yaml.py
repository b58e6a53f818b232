"""A file that somebody else wrote ends in a sentence, whatever it unfolds to."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opensafemlrm.datasets import mapping
from opensafemlrm.errors import DatasetError, StudyError
from opensafemlrm.strict_yaml import BadYAMLError, read
from opensafemlrm.study import parse, parse_judge

BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30)
)
HOSTILE = {
    "an alias bomb": (BOMB, "anchors"),
    "an alias of itself": ("models: &m [*m]\n", "anchors"),
    "an alias of nothing": ("models: *m\n", "anchors"),
    "a merge of itself": ("a: &a\n  <<: *a\n", "anchors"),
    "deep lists": ("models: " + "[" * 5_000, "nested too deeply"),
    "deep mappings": ("models: " + "{a: " * 5_000, "nested too deeply"),
    "deep lists in lines": ("models:\n" + "".join(f"{' ' * i}-\n" for i in range(300)), "deeply"),
    "many values": ("models: [" + "[]," * 100_000 + "]", "characters|more than 20,000"),
    "a long integer": (f"seed: {'9' * 5_000}\n", "a number has at most"),
    "a long fraction": (f"seed: 0.{'9' * 5_000}\n", "a number has at most"),
    "a number by sixties": ("seed: 1" + ":59" * 500 + "\n", "a number has at most"),
    "a tag of Python": ("seed: !!python/object/apply:os.getcwd []\n", "tags"),
    "a tag that cannot be": ("seed: !!int x\n", "tags"),
    "a date that cannot be": ("seed: 2024-13-45\n", "month"),
    "half a character": ('seed: "\\uD800"\n', "half a character"),
    "a list as a key": ("? [a]\n: b\n", "a key is a word"),
    "a key twice": ("a: 1\na: 2\n", "there twice"),
    "too much": ("# " + "x" * 300_000, "characters"),
    "a control character": ("a: \x07\n", "not valid YAML"),
}


def by_study(text: str, _: Path) -> None:
    parse(text)


def by_judge(text: str, _: Path) -> None:
    parse_judge(text)


def by_mapping(text: str, folder: Path) -> None:
    path = folder / "mapping.yaml"
    path.write_text(text)
    mapping.read(path, mapping.TableMapping)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("reader", [by_study, by_judge, by_mapping])
def test_hostile_yaml_ends_in_a_sentence(
    tmp_path: Path, name: str, reader: Callable[[str, Path], None]
) -> None:
    """An alias bomb filled the memory; a deep file ended in 204 kB of traceback."""
    text, says = HOSTILE[name]
    kinds = (StudyError, DatasetError)
    with pytest.raises(
        kinds, match=says if reader is not by_mapping else f"{says}|bytes"
    ) as caught:
        reader(text, tmp_path)
    assert len(str(caught.value)) < 500


BAD_NUMBERS = (
    *("limit: true", "limit: 0", f"limit: {2**70}", f"sampling: {{seed: {2**70}}}"),
    *("sampling: {repeats: true}", "sampling: {seed: 1.5}", "sampling: {max_tokens: 1e400}"),
)


@pytest.mark.parametrize("line", BAD_NUMBERS)
def test_a_number_that_a_study_cannot_mean_is_a_mistake_with_its_line(line: str) -> None:
    """`limit: true` counted as 1, and `seed: 2**70` failed when its first row was stored."""
    with pytest.raises(StudyError, match=f"line 4, {line.partition(':')[0]}"):
        parse(f"models: [sim/r1-onevision-7b]\ndatasets: [canary]\njudge: canary\n{line}\n")


@given(st.text(alphabet="[]{}:-,&*!?#|>'\"% \n\tab01\\", max_size=60))
def test_any_text_is_values_or_bad_yaml(text: str) -> None:
    with contextlib.suppress(BadYAMLError):
        read(text)
