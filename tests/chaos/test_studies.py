"""Studies that somebody, or something, has mangled: a study, or an error of ours."""

from __future__ import annotations

from collections import Counter

import pytest

from opensafemlrm import study
from opensafemlrm.errors import StudyError

STUDY = """\
models: [sim/r1-onevision-7b, sim/qwen2.5-vl-7b]
pairs: [[sim/r1-onevision-7b, sim/qwen2.5-vl-7b]]
datasets: [canary]
attacks: [direct, {attack: figstep}]
defenses: [none, reflect]
judge: canary
sampling: {temperature: 0.5, seed: 3, repeats: 2}
limit: 100
"""
VALUES = (
    *("null", "true", "-1", "0", "1e999", ".nan", str(2**70), "9" * 5000, "''", "[]", "{}"),
    *("[[]]", "{a: b}", "x" * 10_000, "!!python/name:os.system", "2026-11-27", "\\ud800", "\x00"),
    *("[" * 5000, "&a [*a]", "*a", "{<<: *a}", "- -", "? x", '"', "%", "@", "`"),
)
BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)),
    ]
)


def mutants() -> list[tuple[str, str]]:
    lines = STUDY.splitlines()
    found = [("an alias bomb", BOMB), ("an alias bomb", f"{STUDY}{BOMB}")]
    for n, line in enumerate(lines):
        key, _, value = line.partition(": ")
        before, after = lines[:n], lines[n + 1 :]
        found.append(("a line gone", "\n".join([*before, *after])))
        found.append(("a line twice", "\n".join([*before, line, line, *after])))
        found.append(("a line indented", "\n".join([*before, f"  {line}", *after])))
        found.append(("a key misspelt", "\n".join([*before, f"{key}s: {value}", *after])))
        found += [
            ("another value", "\n".join([*before, f"{key}: {other}", *after])) for other in VALUES
        ]
        found += [
            ("another value inside", "\n".join([*before, f"{key}: [{other}]", *after]))
            for other in VALUES
        ]
    for at in range(0, len(STUDY), 3):
        found.append(("cut off", STUDY[:at]))
        found.append(("a character gone", STUDY[:at] + STUDY[at + 1 :]))
    return found


@pytest.mark.slow
def test_every_mutant_is_a_study_or_an_error_of_ours(injected: Counter[str]) -> None:
    for kind, text in mutants():
        try:
            study.parse(text)
        except StudyError:
            injected[f"studies with {kind}: refused"] += 1
        else:
            injected[f"studies with {kind}: taken"] += 1
