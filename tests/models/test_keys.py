"""Which key goes to which server: a vendor's to the vendor, any other where the study says so."""

from __future__ import annotations

import pytest

from opensafemlrm.errors import StudyError
from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.hosted.vllm import VLLM
from opensafemlrm.study import parse
from tests.models.scripted import ask

VENDORS = {
    "openai": "OPENAI_API_KEY",
    "openai-responses": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GEMINI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
}


def study(model: str) -> str:
    return f"models: [{{{model}}}]\ndatasets: [canary]\njudge: canary\n"


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("base_url: 'https://elsewhere.test/v1'", "api_key_env"),
        ("base_url: 'http://elsewhere.test/v1'", "api_key_env"),
        ("base_url: 'https://api.openai.com.elsewhere.test/v1'", "api_key_env"),
        ("base_url: 'http://elsewhere.test/v1', api_key_env: MY_KEY", "insecure: true"),
        ("base_url: 'http://10.0.0.7/v1', api_key_env: MY_KEY", "insecure: true"),
    ],
)
def test_a_study_names_the_key_of_every_other_address(vendor, options, says) -> None:
    """OPENAI_API_KEY went to whatever ``base_url`` named, plain http included."""
    with pytest.raises(StudyError, match=says) as caught:
        parse(study(f"model: {vendor}/m, {options}"))
    assert "line 1, models.0" in str(caught.value)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "options",
    [
        "concurrency: 2",
        "base_url: 'http://127.0.0.1:9/v1'",
        "base_url: 'http://localhost:9/v1'",
        "base_url: 'https://elsewhere.test/v1', api_key_env: MY_KEY",
        "base_url: 'http://elsewhere.test/v1', api_key_env: MY_KEY, insecure: true",
    ],
)
def test_a_key_that_is_named_or_not_needed_makes_a_study(vendor, options) -> None:
    assert parse(study(f"model: {vendor}/m, {options}")).models


def test_an_address_of_the_environment_names_its_key_too(monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://elsewhere.test/v1")
    with pytest.raises(StudyError, match="api_key_env"):
        parse(study("model: openai/m"))
    assert parse(study("model: openai/m, api_key_env: MY_KEY")).models


def test_a_server_without_a_key_needs_no_variable() -> None:
    assert parse(study("model: vllm/m, base_url: 'http://gpu-box:8000/v1'")).models


async def test_a_vendors_key_stays_away_from_servers_of_this_machine(
    server, connect, monkeypatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-of-the-vendor")
    monkeypatch.setenv("MY_KEY", "k-of-mine")
    await ask(connect())
    await ask(connect(api_key_env="MY_KEY"))
    sent = [headers.get("Authorization") for headers in server.headers]
    assert sent == [None, "Bearer k-of-mine"]


@pytest.mark.parametrize(
    "key",
    [
        "sk-planted-key-7f3a9b2c",
        "AIzaSyPlanted7f3a9b2c4d5e6f7a8b9c0d1e2f3a",
        "AKIAPLANTED7F3A9B2CD",
        "gsk_Planted7f3a9b2c4d5e",
        "PLANTED7F3A9B2C4D5E6F708192A3B4",
        "planted7f3a9b2c4d5e6f708192",
        "hf_Planted7f3a9b2c4d5e",
    ],
)
def test_a_key_in_the_place_of_its_variable_is_refused_unrepeated(key) -> None:
    with pytest.raises(StudyError, match="an environment variable") as caught:
        parse(study(f"model: openai/m, api_key_env: {key}"))
    assert key not in str(caught.value)


def test_models_are_closed_to_keys_in_python_too() -> None:
    with pytest.raises(ValueError, match="api_key_env"):
        OpenAICompatible("m", base_url="https://elsewhere.test/v1")
    with pytest.raises(ValueError, match="insecure"):
        VLLM("m", base_url="http://gpu-box:8000/v1", api_key_env="VLLM_API_KEY")
