"""Public bug reports of similar tools, tried here: by which tests each stays as it should be.

The numbers are those of the trials. A few hold only in part, and say so.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent

ROWS: dict[int, tuple[str, str]] = {
    1: ("claude-code#4207: 400, the credit is too low", "cli/test_run_outages.py::"
        "test_credit_that_ends_after_100_stops_its_model_and_the_next_run_makes_the_rest"),
    2: ("vllm, --limit-mm-per-prompt: 400, at most N images", "cli/test_run_outages.py::"
        "test_a_servers_flag_that_is_wrong_from_the_start_loses_no_item"),
    3: ("Roo-Code#515, gptme#1449: 403, the key's limit", "models/test_provider_errors.py::"
        "test_money_that_is_spent_stops_the_model_in_any_words"),
    4: ("inspect_ai#573, #1052: max_tokens and temperature are refused", "cli/test_requests.py::"
        "test_a_reasoning_model_wastes_no_item_and_leaves_no_ghost"),
    5: ("the same of a judge", "cli/test_requests.py::"
        "test_a_reasoning_model_wastes_no_item_and_leaves_no_ghost"),
    6: ("garak#2197, PurpleLlama#31: a refusal, and then help", "judges/test_refusal.py::"
        "test_published_tools_go_wrong_a_refusal_followed_by_help_is_never_left_unread"),
    7: ("garak#1753: refusals that are missed", "judges/test_refusal.py::"
        "test_declining_at_the_start_is_a_refusal"),
    8: ("vllm#22507: no content, reasoning alone", "reasoning/test_review.py::"
        "test_a_reply_that_is_thought_alone_is_kept_with_its_usage_and_not_asked_again"),
    9: ("vllm-mlx#599: [THINK], <thought>, Cohere's marks", "reasoning/test_families.py::"
        "test_a_familys_reply_is_split_by_name_and_by_detection"),
    10: ("litellm#10227, omlx#2860: reasoning given twice", "reasoning/test_review.py::"
         "test_a_reviewed_reply_is_split_as_wanted_by_name_and_by_detection"),
    11: ("Mistral, Databricks: content is a list", "models/test_openai_compatible.py::"
         "test_fields_of_real_servers_are_read"),
    12: ("inspect_ai#514: model_length", "reasoning/test_review.py::"
         "test_every_vendors_word_for_a_cut_reply_is_known_and_an_unknown_one_is_shown"),
    13: ("reasons to stop of four APIs", "models/test_vendors.py::test_a_cut_reply_is_truncated"),
    14: ("openai_ex#126: the error is a list", "models/test_provider_errors.py::"
         "test_the_servers_words_are_found_in_every_shape"),
    15: ("zai-org/feedback#572: 1301", "models/test_provider_errors.py::"
         "test_a_filter_is_a_block_with_its_code_and_its_words"),
    16: ("LiteLLM's ContentPolicyViolationError", "models/test_provider_errors.py::"
         "test_a_filter_is_a_block_with_its_code_and_its_words"),
    17: ("filters of Azure, xAI, DeepSeek, Moonshot", "models/test_provider_errors.py::"
         "test_a_filter_is_a_block_with_its_code_and_its_words"),
    18: ("lmstudio#618: an error with status 200", "models/test_provider_errors.py::"
         "test_a_wrong_key_model_or_address_stops_at_once_whatever_its_status"),
    19: ("lmstudio#619: the model's name is ignored", "cli/test_requests.py::"
         "test_a_server_that_answers_with_another_model_is_named_wherever_it_matters"),
    20: ("vllm#13655: 500 for some images", "cli/test_run_outages.py::"
         "test_items_that_a_server_cannot_digest_keep_it_from_no_other"),
    21: ("Aider#1880: 429, the request is too large", "models/test_openai_compatible_pace.py::"
         "test_what_can_never_be_served_ends_at_once_and_shuts_no_gate"),
    22: ("positronic#573: one endpoint ends all", "cli/test_run_ends.py::"
         "test_a_server_that_is_down_for_one_model_ends_with_2_and_names_it"),
    23: ("ollama#3839: the front of a prompt is dropped", "models/test_openai_compatible.py::"
         "test_a_prompt_that_the_server_cut_is_no_reply_to_it"),
    24: ("chat-ui#1386: no system role", "models/test_parameters.py::"
         "test_a_system_text_goes_into_the_users_turn"),
    25: ("DeepSeek: 400 for response_format", "models/test_openai_compatible_failures.py::"
         "test_a_server_that_turns_down_every_request_stops_the_run"),
    26: ("inspect_ai#5467: a judge thinks its tokens away", "cli/test_run_ends.py::"
         "test_a_judge_whose_replies_are_cut_is_stopped_and_says_what_to_raise"),
    27: ("PraisonAI#4195: a judge's label in bold", "engine/test_stops.py::"
         "test_a_judge_that_never_gives_a_score_is_stopped_and_says_what_to_change"),
    28: ("Anthropic: max_tokens above the budget of thoughts", "models/test_vendors_own.py::"
         "test_anthropic_thinks_without_sampling_of_ours"),
    29: ("inspect_ai#4626: NaN is asked", "datasets/test_silent_drops.py::"
         "test_nan_and_infinities_are_empty_cells"),
    30: ("Ocean-R1#2, FAI-RL#81: a list of pictures", "datasets/test_silent_drops.py::"
         "test_a_list_of_pictures_is_found_and_read"),
    31: ("a picture as a struct", "datasets/test_own.py::test_pictures_by_name_and_in_the_table"),
    32: ("unsloth#11301: blobs that data sets share", "datasets/test_source.py::"
         "test_a_snapshot_whose_blobs_all_data_sets_share_is_read_whole"),
    33: ("CSV with BOM, CRLF, NUL", "datasets/test_own.py::"
         "test_the_same_rows_are_the_same_items_in_every_format"),
    34: ("CSV in UTF-16 and with ;", "datasets/test_silent_drops.py::"
         "test_files_of_another_making_get_their_own_words"),
    35: ("JSON Lines that are none", "datasets/test_own.py::"
         "test_another_kind_of_file_is_refused"),
    36: ("pictures in base64, by address (not read: it is said)", "datasets/test_silent_drops.py::"
         "test_pictures_that_cannot_be_read_are_doubted_when_the_mapping_is_made"),
    37: ("CMYK, 16 bit, palettes, MPO", "test_images.py::"
         "test_cmyk_and_palette_images_are_decoded_to_rgb"),
    38: ("animations, cut files, bombs", "test_images.py::"
         "test_an_animation_is_refused_rather_than_cut_to_one_frame"),
    39: ("EXIF orientation (left to the server, as documented)", "test_images.py::"
         "test_exif_orientation_is_left_as_stored"),
    40: ("base_url in all its forms", "models/test_openai_compatible_failures.py::"
         "test_the_address_can_come_from_the_environment"),
    41: ("chunks, HTTP/1.0, gzip nobody asked for", "models/http/test_transport.py::"
         "test_every_framing_that_servers_use_is_read"),
    42: ("short bodies, redirects, streams nobody asked for", "models/http/test_transport.py::"
         "test_what_is_no_whole_reply_is_a_typed_error"),
    43: ("a certificate of one's own", "cli/test_surroundings.py::"
         "test_a_certificate_that_is_not_trusted"),
    44: ("httpx#1082: proxies", "models/http/test_proxies.py::"
         "test_the_proxy_is_the_one_that_the_environment_names"),
    45: ("hackagent#407: a file system without locks", "cli/test_surroundings.py::"
         "test_a_file_system_without_locks"),
    46: ("python-tabulate#327: an output that is not UTF-8", "cli/test_surroundings.py::"
         "test_a_table_where_the_output_is_not_utf_8"),
}  # fmt: skip


def test_every_trial_has_its_row() -> None:
    assert list(ROWS) == list(range(1, 47))


@pytest.mark.parametrize(("number", "row"), ROWS.items(), ids=map(str, ROWS))
def test_the_test_that_keeps_a_report_away_is_there(number: int, row: tuple[str, str]) -> None:
    report, test = row
    path, name = test.split("::")
    source = (ROOT / path).read_text(encoding="utf-8")
    assert re.search(rf"^ *(?:async )?def {name}\(", source, re.MULTILINE), f"{number}: {report}"
