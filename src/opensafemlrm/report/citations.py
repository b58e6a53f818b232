"""What a store's results stand on, to be cited: from the cards of its components."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Final

from opensafemlrm import registry
from opensafemlrm.errors import PluginError, UnknownNameError
from opensafemlrm.models import catalog
from opensafemlrm.registry import ComponentKind
from opensafemlrm.store.source import Source
from opensafemlrm.store.tables import TABLES
from opensafemlrm.text import for_latex
from opensafemlrm.types import Card

_ARXIV: Final = re.compile(r"arXiv (\d\d)(\d\d\.\d{4,5})")
_YEAR: Final = re.compile(r"\b(20\d\d)\b")
_AUTHOR: Final = re.compile(r"^(?:((?:[A-Z]\. )+))?([\w’'-]+) et al\., ")
_OTHERS: Final = " and others"
_OWN: Final = re.compile(r"(this project|the project's|OpenSafeMLRM's own)")
_SAFEMLRM: Final = (
    "J. Fang et al., SafeMLRM: Demystifying Safety in Multi-modal Large Reasoning Models, "
    "arXiv 2504.08813"
)


@dataclass(frozen=True, slots=True)
class Citation:
    """One thing to cite, and all that the store has of it."""

    key: str
    """Its key in BibTeX: ``arxiv-`` and the number, or what it is and its name."""
    used: str
    """What of the store it stands for, such as ``dataset figstep; attack figstep``."""
    title: str
    author: str = ""
    """As BibTeX writes it; empty where the component's card names none."""
    year: str = ""
    arxiv: str = ""
    source: str = ""
    licence: str = ""
    """Of a data set."""
    non_commercial: bool = False
    note: str = ""

    def bibtex(self) -> str:
        """Return its entry. A title keeps its capitals; what is not known is left out."""
        words = [f"Used here: {self.used}", self.note]
        if self.licence:
            words.append(f"Licence of the data: {_licence(self.licence, self.non_commercial)}")
        author = for_latex(self.author)
        if author and not author.endswith(_OTHERS):
            author = f"{{{author}}}"  # a group, not a name and a surname
        fields = {
            "author": author,
            "key": "" if self.author else for_latex(self.title),  # what sorts it
            "title": f"{{{for_latex(self.title)}}}",
            "year": self.year,
            "eprint": self.arxiv,
            "archiveprefix": "arXiv" if self.arxiv else "",
            "url": f"https://arxiv.org/abs/{self.arxiv}" if self.arxiv else "",
            "howpublished": for_latex(self.source),
            "note": for_latex(". ".join(filter(None, words))),
        }
        lines = [f"  {name} = {{{value}}},\n" for name, value in fields.items() if value]
        return f"@misc{{{self.key},\n{''.join(lines)}}}\n"

    def words(self) -> str:
        """Return it as a line for people."""
        sentences = [f"{self.author}." if self.author else "", f"{self.title}."]
        sentences += [f"arXiv {self.arxiv}." if self.arxiv else "", self.year and f"{self.year}."]
        sentences += [f"{self.note}." if self.note else "", f"Used here: {self.used}."]
        if self.licence:
            sentences.append(f"Licence of the data: {_licence(self.licence, self.non_commercial)}.")
        return " ".join(filter(None, sentences))


def citations(source: Source) -> list[Citation]:
    """Return what to cite for a store: the project, the study behind it, and each component.

    A panel, a composed attack and a guard stand for their parts. What several components come from
    is there once. Raises StoreError where the store cannot be read.
    """
    table = TABLES["components"]
    rows = source.query(table.select(), table.schema()).sort("kind", "label")
    found = [
        _project(),
        _of_paper(_SAFEMLRM, "the measures: reasoning tax, blind spots, self-correction"),
    ]
    for row in rows.to_dicts():
        identity = {"label": row["label"], **json.loads(row["identity"])}
        for kind, part in _parts(ComponentKind(row["kind"]), identity):
            found += _of_component(kind, part)
    return _merged(found)


def data_licence(name: str) -> str:
    """Return the licence of a data set's release, marked where it is non-commercial; or nothing."""
    card = _card(ComponentKind.DATASET, name)
    return _licence(card.licence, card.non_commercial) if card else ""


def _licence(licence: str, non_commercial: bool) -> str:
    return f"{licence} (non-commercial use only)" if non_commercial else licence


def _parts(
    kind: ComponentKind, identity: Mapping[str, Any]
) -> Iterator[tuple[ComponentKind, Mapping[str, Any]]]:
    """Yield a component and those among its options; only a model's identity names a ``model``."""
    yield kind, identity
    for option, value in identity.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping) and isinstance(part.get("name"), str):
                of_same = option == "parts"
                is_model = isinstance(part.get("model"), str)
                below = ComponentKind.MODEL if is_model else ComponentKind.JUDGE
                yield from _parts(kind if of_same else below, part)


def _of_component(kind: ComponentKind, identity: Mapping[str, Any]) -> list[Citation]:
    name = str(identity.get("name", identity.get("label", "")))
    if kind is ComponentKind.MODEL:
        return [_of_model(name, identity)]
    origin, used = identity.get("imported_from"), f"{kind} {name}"
    if origin:
        # Tools spell the names of data sets each in their own way, some behind an owner's.
        known = {_folded(label): label for label in registry.names(kind)}
        name = known.get(_folded(name.rpartition("/")[2]), name)
    card = _card(kind, name)
    if card is None and origin:
        note = f"{kind.capitalize()} of results imported from {origin}: cite where it comes from"
        return [Citation(f"{kind}-{_slug(name)}", used, title=name, note=note)]
    if card is None:
        return []
    if _OWN.match(card.paper):
        return [replace(_project(), used=used)]
    if not (_ARXIV.search(card.paper) or _YEAR.search(card.paper)):
        return []  # what stands for its parts
    of_data = kind is ComponentKind.DATASET
    licence = card.licence if of_data else ""
    return [_of_paper(card.paper, used, licence, card.non_commercial and of_data)]


def _of_model(name: str, identity: Mapping[str, Any]) -> Citation:
    model = str(identity.get("model") or identity.get("label") or name)
    used = f"model {identity.get('label', f'{name}/{model}')}"
    slug = _slug(model)
    if identity.get("simulated"):
        note = "Simulated by OpenSafeMLRM; it says nothing about the model whose name it has"
        return Citation(f"simulated-{slug}", used, f"Simulated {model}", note=note)
    row = catalog.find(model)
    paper = _ARXIV.search((row and row.paper) or "")
    return Citation(
        key=f"arxiv-{''.join(paper.groups())}" if paper else f"model-{slug}",
        used=used,
        title=row.id if row else model,
        year=f"20{paper[1]}" if paper else "",
        arxiv="".join(paper.groups()) if paper else "",
        source=f"https://huggingface.co/{row.id}" if row and "/" in row.id else "",
        note="Model",
    )


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-").lower()


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _of_paper(paper: str, used: str, licence: str = "", non_commercial: bool = False) -> Citation:
    """Read a card's citation: ``AUTHOR et al., TITLE, arXiv NUMBER``, or a venue and a year."""
    author = _AUTHOR.match(paper)
    number = _ARXIV.search(paper)
    year = _YEAR.search(paper)
    title = paper[author.end() if author else 0 : number.start() if number else len(paper)]
    known = "".join(number.groups()) if number else ""
    names = (f"{author[2]}, {author[1].strip()}" if author[1] else author[2]) if author else ""
    return Citation(
        key=f"arxiv-{known}" if known else re.sub(r"[^a-z0-9]+", "-", used.lower()),
        used=used,
        title=re.sub(r",? *\(?20\d\d\)?$", "", title.strip(" ,;(")),
        author=f"{names}{_OTHERS}" if names else "",
        year=f"20{number[1]}" if number else (year[1] if year else ""),
        arxiv=known,
        licence=licence,
        non_commercial=non_commercial,
    )


def _project() -> Citation:
    release = version("opensafemlrm")
    return Citation(
        key="opensafemlrm",
        used="the evaluation",
        title="OpenSafeMLRM: Safety evaluation of multi-modal large reasoning models",
        author="The OpenSafeMLRM authors",
        note=f"Software, version {release}",
    )


def _card(kind: ComponentKind, name: str) -> Card | None:
    try:
        found = registry.find(kind, name)
    except (UnknownNameError, PluginError):
        return None  # a data set of the user's own, or of a package that is not here
    card: Card | None = getattr(found, "card", None)
    return card


def _merged(found: Sequence[Citation]) -> list[Citation]:
    """Join what has one key: it keeps the fullest title, and says all that it is used for."""
    merged: dict[str, Citation] = {}
    for citation in found:
        known = merged.get(citation.key)
        if known is None:
            merged[citation.key] = citation
            continue
        used = dict.fromkeys([*known.used.split("; "), *citation.used.split("; ")])
        merged[citation.key] = replace(
            known,
            used="; ".join(used),
            title=known.title if known.note else max(known.title, citation.title, key=len),
            author=known.author or citation.author,
            licence=known.licence or citation.licence,
            non_commercial=known.non_commercial or citation.non_commercial,
        )
    return list(merged.values())
