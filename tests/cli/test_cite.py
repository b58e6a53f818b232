"""``safemlrm cite``: nothing that a store's results stand on goes without its citation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from opensafemlrm import registry, strict_yaml
from opensafemlrm.registry import ComponentKind
from opensafemlrm.report.citations import citations
from tests.audit.stores import safemlrm

STUDY = """\
models: [sim/r1-onevision-7b]
datasets: [canary]
attacks: [direct, typo+mirror]
defenses: [none, self-reminder]
judge: {judge: panel, judges: [canary, rules]}
limit: 2
"""


class Held:
    """A store that holds these components alone."""

    def __init__(self, *identities: tuple[str, dict[str, Any]]) -> None:
        self.rows = [
            (bytes([number]), kind, str(identity["name"]), json.dumps(identity), "{}")
            for number, (kind, identity) in enumerate(identities)
        ]

    def query(self, _: str, schema: dict[str, Any]) -> pl.DataFrame:
        return pl.DataFrame(self.rows, schema=schema, orient="row")


def cited(*identities: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    found = citations(Held(*identities))  # type: ignore[arg-type] # all that it asks for
    return {one.key: one for one in found}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cite")
    (folder / "study.yaml").write_text(STUDY)
    assert safemlrm("run", folder / "study.yaml", "--store", folder / "store").exit_code == 0
    return folder / "store"


def test_bibtex_has_an_entry_for_each_work_and_says_what_it_was_used_for(store: Path) -> None:
    printed = safemlrm("cite", store).stdout
    keys = re.findall(r"^@misc\{([^,\s{}]+),$", printed, re.MULTILINE)
    assert len(keys) == len(set(keys)) == 6
    assert {"opensafemlrm", "arxiv-2504.08813", "arxiv-2311.17600", "arxiv-2412.00473"} < set(keys)
    assert "Used here: attack typo" in printed  # a part of a composed attack
    assert "Used here: attack mirror" in printed
    assert "author = {Xie and others}" in printed
    for entry in printed.split("\n\n"):
        assert entry.count("{") == entry.count("}")


def test_a_simulated_model_is_not_cited_as_the_model_it_is_named_after(store: Path) -> None:
    found = json.loads(safemlrm("cite", store, "--format", "json").stdout)
    (model,) = [one for one in found if "model " in one["used"]]
    assert model["key"] == "simulated-r1-onevision-7b"
    assert not model["arxiv"]


def test_text_is_a_line_for_each(store: Path) -> None:
    lines = safemlrm("cite", store, "--format", "text").stdout.splitlines()
    assert len(lines) == 6
    assert "Wang, Y. and others. Jailbreak Large Vision-Language Models" in "\n".join(lines)


def test_a_data_set_and_an_attack_of_one_paper_are_one_entry_with_the_licence() -> None:
    found = cited(("dataset", {"name": "mm-safetybench"}), ("attack", {"name": "typo"}))[
        "arxiv-2311.17600"
    ]
    assert found.used == "attack typo; dataset mm-safetybench"
    assert found.non_commercial
    assert "Licence of the data: CC-BY-NC-4.0 (non-commercial use only)" in found.bibtex()


def test_models_are_cited_by_their_papers_and_else_by_name() -> None:
    model = {"name": "openai", "model": "r1-onevision-7b"}
    guard = {"name": "openai", "model": "own-judge"}
    found = cited(
        ("model", model),
        ("judge", {"name": "policy-rubric", "model": guard}),
        ("defense", {"name": "guard-output", "guard": {"name": "wildguard", "model": guard}}),
    )
    assert found["arxiv-2503.10615"].title == "Fancy-MLLM/R1-Onevision-7B"
    assert found["model-own-judge"].used == "model openai/own-judge"
    assert "judge wildguard" in found["arxiv-2406.18495"].used
    assert "judge policy-rubric" in found["arxiv-2504.08813"].used


def test_what_an_import_stands_on_is_cited_or_named_with_the_tool_it_came_from() -> None:
    """A store of imports alone had only its models in the list."""
    origin = {"imported_from": "vlmevalkit"}
    found = cited(
        ("dataset", {"name": "someone/MM_SafetyBench", **origin}),
        ("dataset", {"name": "Teas", **origin}),
        ("judge", {"name": "their judge", **origin}),
    )
    assert found["arxiv-2311.17600"].used == "dataset someone/MM_SafetyBench"
    assert found["arxiv-2311.17600"].non_commercial
    assert found["dataset-teas"].title == "Teas"
    assert "vlmevalkit: cite where it comes from" in found["judge-their-judge"].bibtex()


def test_data_of_ones_own_and_of_a_package_that_is_gone_ask_for_no_citation() -> None:
    assert len(cited(("dataset", {"name": "table"}), ("attack", {"name": "no-longer-here"}))) == 2


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind in ComponentKind
        if kind is not ComponentKind.MODEL
        for name in registry.built_in(kind)
        if "arXiv" in registry.find(kind, name).card.paper
    ],
)
def test_each_component_with_a_paper_is_cited(kind: ComponentKind, name: str) -> None:
    card = registry.find(kind, name).card
    if card.paper.startswith("OpenSafeMLRM's own"):
        return
    (entry,) = [
        one for one in cited((kind, {"name": name})).values() if f"{kind} {name}" in one.used
    ]
    assert entry.arxiv in card.paper
    assert entry.title
    assert "et al" not in entry.title


def test_a_licence_that_forbids_commercial_use_is_marked_where_the_data_set_is_shown() -> None:
    assert "CC-BY-NC-4.0 (non-commercial use only)" in safemlrm("datasets", "show", "siuo").stdout
    assert "non-commercial" not in safemlrm("datasets", "show", "figstep").stdout


def test_what_is_the_projects_own_is_named_in_its_entry() -> None:
    """Neither canary nor its judge stood anywhere in what is cited."""
    own = cited(("dataset", {"name": "canary"}), ("judge", {"name": "canary"}))["opensafemlrm"]
    assert own.used == "the evaluation; dataset canary; judge canary"


def test_the_papers_authors_are_people() -> None:
    """CFF has no "et al.": tools print an author called "others" as a person."""
    text = (Path(__file__).parents[2] / "CITATION.cff").read_text(encoding="utf-8")
    (paper,) = strict_yaml.read(text)[0]["references"]
    assert [set(author) for author in paper["authors"]] == [{"family-names", "given-names"}] * 8
