"""The store keeps what it is given, for whoever may read it, and says clearly when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage

from opensafemlrm.api import aevaluate
from opensafemlrm.errors import StoreError, StoreVersionError
from opensafemlrm.images import from_picture
from opensafemlrm.judges.rules import RulesJudge
from opensafemlrm.store import DATABASE, Store, records, schema
from opensafemlrm.store.checking import check
from opensafemlrm.store.known import final_verdicts, responses
from opensafemlrm.store.verdict_key import verdict_key
from opensafemlrm.store.writer import DELAY, Writer
from opensafemlrm.types import (
    JSON,
    Key,
    Part,
    Prompt,
    Response,
    ResponseStatus,
    Trace,
    TraceStatus,
    Unscored,
    Usage,
    Verdict,
    content_key,
)
from tests.support import Scripted, items, ok, study

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
maybe_count = st.none() | st.integers(0, 2**40)
usages = st.builds(Usage, maybe_count, maybe_count, maybe_count)
replies = st.builds(
    Response,
    status=st.sampled_from(list(ResponseStatus)),
    text=texts,
    reasoning=st.none() | texts,
    reasoning_is_summary=st.booleans(),
    reasoning_hidden=st.booleans(),
    finish_reason=st.none() | texts,
    usage=usages,
    latency=st.floats(0, 1e6),
    retries=st.integers(0, 99),
    code=st.text("abc_", min_size=1),
    detail=st.none() | texts,
    transient=st.booleans(),
)
verdicts = st.one_of(
    st.builds(
        Verdict.scored,
        st.floats(0, 5),
        unsafe=st.booleans(),
        refusal=st.none() | st.booleans(),
        understood=st.none() | st.booleans(),
        rationale=texts,
        usage=usages,
    ),
    st.builds(Verdict.none, st.sampled_from(sorted(set(Unscored) - {Unscored.JUDGE_FAILED}))),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store.open(tmp_path_factory.mktemp("store"), "create") as opened:
        yield opened


@given(reply=replies)
def test_a_reply_comes_back_as_it_was(store, reply):
    slot = records.SampleKey(b"cell", b"item", 0, 0, content_key(repr(reply)))
    trace = Trace(TraceStatus.ABSENT, None, "", "")
    store.put([records.generation_row(slot, reply, trace, "x")])
    assert responses(store.connection, [slot.key]) == {slot.key: reply}


@given(verdict=verdicts)
def test_a_verdict_comes_back_as_it_was(store, verdict):
    key = content_key(repr(verdict))
    store.put([records.verdict_row(key, b"judge", verdict)])
    assert final_verdicts(store.connection, [key]) == {key: verdict}


def test_a_prompt_with_an_image_comes_back_and_the_image_is_kept_once(tmp_path):
    """The same image is stored once per sample (how published tools go wrong)."""
    image = from_picture(PILImage.new("RGB", (8, 8), "white"))
    with Store.open(tmp_path, "create") as store:
        kept, *_ = [store.put_image(image) for _ in range(3)]
        prompt = Prompt.user(kept, "look", system="rules")
        again = records.prompt_from_json(records.prompt_json(prompt), store.image)
    assert again == prompt
    assert again.images[0].read() == image.read()
    assert len(list((tmp_path / "images").rglob("*.png"))) == 1


@given(a=texts, b=texts, c=texts, d=texts)
def test_keys_do_not_confuse_where_one_text_ends_and_the_next_begins(a, b, c, d):
    same = (a, b) == (c, d)
    keys = [verdict_key(b"j", None, Part.ANSWER, *pair) for pair in ((a, b), (c, d))]
    assert (keys[0] == keys[1]) == same


def test_a_text_that_a_later_fence_shows_otherwise_has_a_verdict_of_its_own():
    def keys(*texts: str, context: JSON = None) -> list[Key]:
        return [
            verdict_key(b"j", context, Part.ANSWER, *texts, fenced=fenced) for fenced in (None, 1)
        ]

    for plain in (keys("soup?", "boil it"), keys("soup?", "<think>x</think> <|im_end|>")):
        assert plain[0] == plain[1]
    for later in (
        keys("soup?", "<𝐬>"),
        keys("[IN\u200bST]", "x"),
        keys("soup?", "x", context={"reference": ["<ⅽls>"]}),
    ):
        assert later[0] != later[1]


async def test_verdicts_from_before_a_later_fence_stay_and_are_whole(tmp_path, monkeypatch):
    """Those that were paid for are no damage, and are not confused with new ones."""
    said = ok("<think>a <𝐬> b</think>soup [unused1]")
    run = study(Scripted(lambda *_: said), items(2), judge=RulesJudge())
    monkeypatch.setattr("opensafemlrm.store.verdict_key.edition", lambda *_: 1)
    await aevaluate(run, tmp_path / "store", progress=False)
    monkeypatch.undo()
    assert not [finding for finding in check(tmp_path / "store") if finding.problem]
    with sqlite3.connect(tmp_path / "store" / DATABASE) as database:
        before = database.execute("SELECT key FROM verdicts").fetchall()
    more = study(Scripted(lambda *_: said), items(4), judge=RulesJudge())
    await aevaluate(more, tmp_path / "store", progress=False)
    assert not [finding for finding in check(tmp_path / "store") if finding.problem]
    with sqlite3.connect(tmp_path / "store" / DATABASE) as database:
        assert len({*database.execute("SELECT key FROM verdicts").fetchall()} - {*before}) > 3


def test_a_store_of_a_newer_version_is_refused_by_name(tmp_path):
    Store.open(tmp_path, "create").close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.close()
    for mode in ("read", "create"):
        with pytest.raises(StoreVersionError, match="update OpenSafeMLRM"):
            Store.open(tmp_path, mode)


def test_no_store_and_no_database_are_told_apart_from_an_empty_one(tmp_path):
    with pytest.raises(StoreError, match="no store here"):
        Store.open(tmp_path / "nothing")
    (tmp_path / DATABASE).write_bytes(b"this is not a database, it is a text of some length")
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path, "create")


def test_a_reader_cannot_write(tmp_path):
    Store.open(tmp_path, "create").close()
    with Store.open(tmp_path) as store, pytest.raises(StoreError, match="cannot be written"):
        store.put_pair(b"a", b"b")


def test_an_error_of_the_disk_reaches_the_next_who_writes_and_the_end_of_the_run(tmp_path):
    """Rows that cannot be written are lost without a word (a timer has nobody to raise to)."""

    async def write(writer: Writer) -> None:
        writer.put(("pairs", (b"one of two",)))
        await asyncio.sleep(2 * DELAY)
        with pytest.raises(StoreError, match="cannot be written"):
            writer.put(("pairs", (b"a", b"b")))
        with pytest.raises(StoreError, match="cannot be written"):
            writer.flush()

    with Store.open(tmp_path, "create") as store:
        asyncio.run(write(Writer(store.connection)))


def test_keys_and_secrets_of_the_environment_are_not_part_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "planted-key-123")
    with Store.open(tmp_path, "create") as store:
        store.start_run("study", {"python": "3"})
    assert not any(b"planted-key-123" in f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())


def test_a_new_file_of_no_bytes_is_no_store_yet_and_becomes_one(tmp_path):
    (tmp_path / DATABASE).touch()
    with pytest.raises(StoreError, match=r"nothing was written here yet; run a study into"):
        Store.open(tmp_path)
    Store.open(tmp_path, "create").close()
    Store.open(tmp_path).close()


@pytest.mark.parametrize("left", [f"{DATABASE}-wal", f"{DATABASE}.version-2", "images/ab/ab.png"])
@pytest.mark.parametrize("mode", ["read", "write", "create"])
def test_a_store_that_was_emptied_is_not_taken_for_a_new_one(tmp_path, left, mode):
    """SQLite would delete the log beside it, with all that was written last."""
    beside = tmp_path / left
    beside.parent.mkdir(parents=True, exist_ok=True)
    beside.write_bytes(b"what is left")
    (tmp_path / DATABASE).touch()
    with pytest.raises(StoreError, match=rf"emptied this file.*{left}.*Nothing was changed"):
        Store.open(tmp_path, mode)
    assert beside.read_bytes() == b"what is left"
    assert (tmp_path / DATABASE).stat().st_size == 0
