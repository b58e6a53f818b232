"""A user's own format and catalogue, from the study file over HTTP to the parts that are judged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

import opensafemlrm as osm
from opensafemlrm.errors import OptionError, StudyError
from tests.loopback import LoopbackServer


@contextmanager
def replying(text: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve one reply to every chat request, and note the requests."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            message = {"role": "assistant", "content": text}
            body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = LoopbackServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()


def evaluate(tmp_path: Path, model: dict[str, Any]) -> osm.Results:
    study = osm.Study(
        models=[model], datasets=["canary"], attacks=["direct"], judge="canary", limit=4
    )
    return osm.evaluate(study, tmp_path / "store")


def test_a_format_described_in_the_study_splits_what_a_server_sends(tmp_path: Path) -> None:
    with replying("<<reason>>moon<</reason>>soup") as (url, _):
        form = {"open": "<<reason>>", "close": "<</reason>>"}
        results = evaluate(tmp_path, {"model": "vllm/mine", "base_url": url, "format": form})
    replies = results.replies()
    assert set(replies["reasoning_status"]) == {"closed"}
    assert set(replies["answer"]) == {"soup"}


def test_stripped_harmony_is_split_and_a_special_format_asks_for_its_tokens(
    tmp_path: Path,
) -> None:
    with replying("analysisThe moon.assistantfinalSoup.") as (url, asked):
        model = {"model": "vllm/gpt-oss-20b", "base_url": url, "format": "harmony"}
        results = evaluate(tmp_path, model)
    assert set(results.replies()["answer"]) == {"Soup."}
    assert all(request["skip_special_tokens"] is False for request in asked)


def test_a_catalogue_of_ones_own_gives_format_and_prompts(tmp_path: Path) -> None:
    file = tmp_path / "my-models.toml"
    file.write_text(
        '[[model]]\nid = "org/mine"\nfamily = "mine"\nsuffix = "Think first."\n'
        'format = { open = "[R]", close = "[/R]" }\n'
    )
    with replying("[R]moon[/R]soup") as (url, asked):
        model = {"model": "vllm/org/mine", "base_url": url, "catalog": str(file)}
        results = evaluate(tmp_path, model)
    assert set(results.replies()["reasoning"]) == {"moon"}
    assert asked[0]["messages"][-1]["content"].endswith("Think first.")


def test_prefix_suffix_and_stages_are_options_and_part_of_the_identity(tmp_path: Path) -> None:
    with replying("soup") as (url, asked):
        model = {"model": "vllm/m", "base_url": url, "prefix": "Look.", "suffix": "Answer."}
        results = evaluate(tmp_path, model)
    content = asked[0]["messages"][-1]["content"]
    assert content.startswith("Look.\n")
    assert content.endswith("\nAnswer.")
    assert "suffix" in results.replies()["model"][0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[model]]\nid = 'a'\n", "model 1, family"),
        ("[[model]]\nid = 'a'\nfamily = 'f'\nformat = 'thnk'\n", "did you mean think"),
        ("x = [", "cannot be read"),
        ("x = 1\n", "no table"),
    ],
)
def test_a_catalogue_that_is_wrong_names_file_and_row(
    text: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises((OptionError, StudyError), match=words) as caught:
        evaluate(tmp_path, {"model": "vllm/a", "catalog": str(file)})
    assert "mine.toml" in str(caught.value)
