"""Bodies of errors as vendors and servers send them, from public reports and error references.

Each has the status that it came with, and what is to become of the request.
"""

from __future__ import annotations

from typing import Any

Case = tuple[int, Any]

NO_CREDIT: dict[str, Case] = {
    "anthropic": (400, {"type": "error", "error": {"type": "invalid_request_error", "message":
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing "
        "to upgrade or purchase credits."}}),
    "anthropic limit": (400, {"error": {"type": "invalid_request_error", "message":
        "You have reached your specified API usage limits. Come back on 2026-12-01."}}),
    "openai": (429, {"error": {"code": "insufficient_quota", "message":
        "You exceeded your current quota, please check your plan and billing details."}}),
    "openai, hard limit, as Python prints it": (400,
        "Error code: 400 - {'error': {'message': 'Billing hard limit has been reached', 'param': "
        "None, 'code': 'billing_hard_limit_reached'}}"),
    "openrouter, key": (403, {"error": {"code": 403, "message":
        "Key limit exceeded (total limit). Manage it using https://openrouter.ai/settings/keys"}}),
    "openrouter, a day": (429, {"error": {"code": 429, "message":
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model "
        "requests per day"}}),
    "gemini, a day, in a list": (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED",
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "details": [{"violations": [{"quotaId": "GenerateRequestsPerDayPerProject-FreeTier"}]}]}}]),
    "xai": (403, {"code": "Some resource has been exhausted", "error":
        "Your team has either used all available credits or reached its monthly spending limit."}),
    "litellm": (400, {"error": {"type": "budget_exceeded", "code": "400", "message":
        "Budget has been exceeded! Current cost: 0.01, Max budget: 0.005"}}),
    "litellm, JSON in a string": (400, {"error": {"type": None, "message":
        "litellm.BadRequestError: AnthropicException - {\"type\":\"error\",\"error\":{\"type\":"
        "\"invalid_request_error\",\"message\":\"Your credit balance is too low\"}}"}}),
    "zhipu": (400, {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}}),
    "dashscope": (400, {"code": "Arrearage", "message":
        "Access denied, please make sure your account is in good standing."}),
    "dashscope, free": (403, {"code": "AllocationQuota.FreeTierOnly", "message":
        "The free tier of the model has been exhausted."}),
    "siliconflow": (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}),
    "moonshot": (429, {"error": {"type": "exceeded_current_quota_error", "message":
        "Your account is suspended due to insufficient balance, please recharge your account"}}),
    "volcengine": (403, {"error": {"code": "AccountOverdueError", "message":
        "The request failed because your account has an overdue balance.", "type": "Forbidden"}}),
    "minimax, with 200": (200, {"base_resp": {"status_code": 1008, "status_msg":
        "insufficient balance"}}),
    "bedrock": (429, {"message": "Too many tokens per day, please wait before trying again."}),
    "one string": (403, {"detail": "spend limit exceeded"}),
    "a list": (422, {"errors": [{"message": "monthly budget exhausted"}]}),
    "a trial": (403, {"error": {"message": "Your free trial has expired. Upgrade to continue."}}),
    "a cap": (400, {"error": {"message": "Project spend cap reached"}}),
    "gemini, its newer codes": (429, {"error": {"code": "quota_exceeded", "message":
        "You have exceeded your daily quota."}}),
    "a server's own": (503, {"message": "insufficient_user_quota"}),
    "tokens in an account": (400, {"error": {"message": "Not enough tokens in your account"}}),
    "none remaining": (403, {"error": "No credits remaining"}),
    "money": (400, {"error": {"message": "You have run out of money. Add more to go on."}}),
    "a wallet": (400, {"error": {"message": "Your wallet is empty"}}),
    "a day's limit, 403": (403, {"error": {"message": "You have hit your daily request limit."}}),
    "openrouter, what it can afford": (400, {"error": {"code": 402, "message": "This request "
        "requires more credits, or fewer max_tokens. You can only afford 12."}}),
    "huggingface": (403, {"error": "You have exceeded your monthly included credits for Inference "
        "Providers. Subscribe to PRO to get 20x more."}),
    "fireworks": (412, {"error": {"message": "Account x is suspended, possibly due to reaching the "
        "monthly spending limit or failure to pay past invoices."}}),
    "cohere": (429, {"message": "You are using a Trial key, which is limited to 1000 API calls / "
        "month."}),
    "vertex": (403, {"error": {"code": 403, "message": "This API method requires billing to be "
        "enabled. Please enable billing on project #1"}}),
    "groq, a day": (429, {"error": {"message": "Rate limit reached for model `x` on tokens per day "
        "(TPD): Limit 100000, Used 99800, Requested 900. Please try again in 10m0s."}}),
    "no plan": (403, {"error": {"message": "Your organization has no active subscription"}}),
    "a plan": (403, {"error": {"message": "plan usage exhausted; upgrade your plan"}}),
    "chinese": (400, {"code": 50101, "message": "账户余额不足，请充值后重试"}),
    "japanese": (400, {"error": {"message": "クレジット残高が不足しています"}}),
    "korean": (400, {"error": {"message": "잔액이 부족합니다"}}),
    "spanish": (400, {"error": {"message": "Saldo insuficiente en su cuenta"}}),
    "german": (400, {"error": {"message": "Ihr Guthaben ist aufgebraucht"}}),
    "russian": (400, {"error": {"message": "Недостаточно средств на счете"}}),
}  # fmt: skip

LATER: dict[str, tuple[int, Any, str]] = {
    "vllm, flag": (400, {"object": "error", "type": "BadRequestError", "code": 400, "message":
        "At most 0 image(s) may be provided in one request. Set '--limit-mm-per-prompt' to "
        "increase this limit."}, "server_options"),
    "vllm, text model": (400, {"message": "x is not a multimodal model"}, "server_options"),
    "llama.cpp, no projector": (500, {"error": {"code": 500, "type": "server_error", "message":
        "image input is not supported - hint: you may need to provide the mmproj"}},
        "server_options"),
    "vllm, context": (400, {"message": "This model's maximum context length is 4096 tokens. "
        "However, you requested 5000 tokens (4000 in the messages, 1000 in the completion)."},
        "context_length"),
    "llama.cpp, context": (400, {"error": {"type": "exceed_context_size_error", "message":
        "the request exceeds the available context size, try increasing it"}}, "context_length"),
    "anthropic, context": (400, {"type": "error", "error": {"type": "invalid_request_error",
        "message": "prompt is too long: 213462 tokens > 200000 maximum"}}, "context_length"),
    "gemini, context, in a list": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT",
        "message": "The input token count (1196265) exceeds the maximum number of tokens allowed "
        "(1048575)."}}], "context_length"),
    "nginx": (413, "<html><head><title>413 Request Entity Too Large</title></head></html>",
        "request_too_large"),
    "a status alone": (413, "", "http_413"),
    "tgi, context": (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` "
        "must be <= 4096. Given: 5000 `inputs` tokens", "error_type": "validation"},
        "context_length"),
    "cerebras, context": (400, {"message": "Please reduce the length of the messages. Current "
        "length is 9000 while limit is 8192"}, "context_length"),
    "sglang, context": (400, {"message": "The input (5000 tokens) is longer than the model's "
        "context length (4096 tokens)."}, "context_length"),
    "ollama, one image": (400, {"error": "this model only supports one image while more than one "
        "image requested"}, "server_options"),
    "grpc": (400, {"message": "Received message larger than max (5242880 vs. 4194304)"},
        "request_too_large"),
    "lm studio, context": (400, {"error": "Trying to keep the first 6000 tokens when context the "
        "overflows. However, the model is loaded with context length of only 4096 tokens"},
        "context_length"),
    "mistral, context": (400, {"message": "Prompt contains 40000 tokens and 0 draft tokens, too "
        "large for model with 32768 maximum context length", "type": "invalid_request_prompt"},
        "context_length"),
    "dashscope, context": (400, {"code": "InvalidParameter", "message":
        "Range of input length should be [1, 30720]"}, "context_length"),
    "openrouter, no pictures": (404, {"error": {"code": 404, "message":
        "No endpoints found that support image input"}}, "server_options"),
    "deepseek, no pictures": (400, {"error": {"message": "Failed to deserialize the JSON body into "
        "the target type: messages[0]: unknown variant `image_url`, expected `text`"}},
        "server_options"),
    "in plain words": (400, {"error": {"message": "The model doesn't support image input"}},
        "server_options"),
    "a large picture": (400, {"error": {"message": "image dimensions exceed max allowed size: 8000 "
        "pixels"}}, "request_too_large"),
    "anthropic, image": (400, {"error": {"message":
        "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6 bytes"}},
        "request_too_large"),
    "openai, impossible": (429, {"error": {"type": "tokens", "code": "rate_limit_exceeded",
        "message": "Request too large for gpt-4o on tokens per min (TPM): Limit 30000, Requested "
        "40521. The input or output tokens must be reduced in order to run successfully."}},
        "request_too_large"),
    "other words, impossible": (429, {"message": "over the rate. limit: 30,000 requested: 40,521"},
        "request_too_large"),
    "groq, impossible": (413, {"error": {"code": "rate_limit_exceeded", "message": "Request too "
        "large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9011"}},
        "request_too_large"),
}  # fmt: skip
"""What asking again at once changes nothing about, and a change of the server may."""

SOON: dict[str, tuple[int, Any, str]] = {
    "overloaded, 400": (400, {"error": "The model is currently overloaded"}, "http_400"),
    "loading, 404": (404, {"error": {"message": "loading model"}}, "http_404"),
    "busy, 403": (403, {"error": {"message": "Rate Limit Exceeded"}}, "http_403"),
    "a dependency": (424, {"detail": "no"}, "http_424"),
    "too early": (425, "", "http_425"),
    "gone before the reply": (499, "", "http_499"),
    "overloaded": (529, {"type": "error", "error": {"type": "overloaded_error"}}, "http_529"),
    "zhipu, crowded": (400, {"error": {"code": "1312", "message":
        "该模型访问量过大,请稍后再试"}}, "http_400"),
    "go's words": (400, {"error": {"message": "context deadline exceeded"}}, "http_400"),
    "openai, its turn will come": (429, {"error": {"code": "rate_limit_exceeded", "message":
        "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, "
        "Requested 3000. Please try again in 4s."}}, "http_429"),
    "gemini, a minute": (429, [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message":
        "You exceeded your current quota, please check your plan and billing details. Please retry "
        "in 23.5s.", "details": [{"violations": [{"quotaId":
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}]}}], "http_429"),
    "azure, its filter is down": (500, {"error": {"code": "content_filter_error", "message":
        "The content filter timed out"}}, "http_500"),
    "a filter that is down": (400, {"message": "content moderation service unavailable"},
        "http_400"),
    "dashscope, throttled": (429, {"code": "Throttling.AllocationQuota", "message":
        "Allocated quota exceeded, please increase your quota limit."}, "http_429"),
}  # fmt: skip
"""What may pass in a moment, whatever its status."""

BLOCKED: dict[str, tuple[int, Any, str]] = {
    "zhipu": (400, {"contentFilter": [{"level": 1, "role": "user"}], "error": {"code": "1301",
        "message": "System detected potentially unsafe or sensitive content in input"}}, "1301"),
    "zhipu, a code alone": (400, {"error": {"code": "1301", "message": "no"}}, "1301"),
    "azure": (400, {"error": {"code": "content_filter", "message": "The response was filtered due "
        "to the prompt triggering Azure OpenAI's content management policy.", "innererror":
        {"code": "ResponsibleAIPolicyViolation"}}}, "content_filter"),
    "xai": (403, {"code": "The caller does not have permission to execute the specified operation",
        "error": "Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE"},
        "usage_guidelines"),
    "deepseek": (400, {"error": {"message": "Content Exists Risk", "type": "invalid_request_error",
        "code": "invalid_request_error"}}, "content_exists_risk"),
    "moonshot": (400, {"error": {"type": "content_filter", "message":
        "The request was rejected because it was considered high risk"}}, "content_filter"),
    "moonshot, without its type": (400, {"error": {"type": "invalid_request_error", "message":
        "The request was rejected because it was considered high risk"}}, "content_filter"),
    "anthropic": (400, {"type": "error", "error": {"type": "invalid_request_error", "message":
        "Output blocked by content filtering policy"}}, "content_filtering_policy"),
    "bedrock": (400, {"message": "The generated text has been blocked by our content filters."},
        "content_filter"),
    "bedrock, guardrail": (400, {"__type": "ValidationException", "message":
        "Guardrail intervened"}, "content_filter"),
    "dashscope": (400, {"code": "DataInspectionFailed", "message":
        "Input data may contain inappropriate content."}, "DataInspectionFailed"),
    "gemini, in a list": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
        "The prompt was blocked due to safety"}}], "content_filter"),
    "minimax, with 200": (200, {"base_resp": {"status_code": 1026, "status_msg":
        "input new_sensitive"}}, "content_filter"),
    "stepfun": (451, {"error": {"type": "censorship_blocked", "message": "not this one"}},
        "censorship_blocked"),
    "openai, reasoning": (400, {"error": {"code": "invalid_prompt", "message":
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy."}},
        "usage_policy"),
    "openai, images": (400, {"error": {"code": "moderation_blocked", "message":
        "Your request was rejected as a result of our safety system."}}, "moderation_blocked"),
    "volcengine": (400, {"error": {"code": "InputTextSensitiveContentDetected", "message":
        "The request failed because the input text may contain sensitive information."}},
        "InputTextSensitiveContentDetected"),
    "tencent, with 200": (200, {"Response": {"Error": {"Code": "FailedOperation.Refused", "Message":
        "内容审核不通过"}}}, "FailedOperation.Refused"),
    "openrouter, JSON in a string": (500, {"error": {"code": 500, "message":
        "Provider returned error", "metadata": {"provider_name": "Azure", "raw": "{\"error\":"
        "{\"message\":\"filtered\",\"code\":\"content_filter\"}}"}}}, "content_filter"),
    "openrouter, moderation": (403, {"error": {"code": 403, "message": "requires moderation",
        "metadata": {"reasons": ["x"], "flagged_input": "planted words"}}}, "moderation"),
    "cohere": (400, {"message": "blocked output: please see our usage guidelines"},
        "content_filter"),
    "xai, newer": (403, {"code": "permission-denied", "error": "Failed check: SAFETY_CHECK_TYPE_X"},
        "content_filter"),
    "siliconflow": (400, {"code": 20015, "message": "input content violates laws and regulations"},
        "content_filter"),
    "llama guard of a gateway": (446, {"error": "blocked by guardrail"}, "content_filter"),
    "litellm": (400, {"error": {"message": "litellm.ContentPolicyViolationError: no"}},
        "content_filter"),
    "litellm, guardrail": (400, {"error": {"message": "Violated guardrail policy", "type": "None"}},
        "content_filter"),
    "openai, newer": (400, {"error": {"code": "content_policy_violation", "message": "This request "
        "has been flagged for potentially violating the content policy."}},
        "content_policy_violation"),
    "qianfan, with 200": (200, {"error_code": 336104, "error_msg":
        "user input contains sensitive words, security review failed"}, "content_filter"),
    "vertex": (400, {"error": {"code": 400, "message": "The prompt could not be submitted. This "
        "prompt contains sensitive words that violate Google's Responsible AI practices."}},
        "content_filter"),
    "by its settings": (400, {"error": {"message": "The response was blocked by the safety "
        "settings"}}, "content_filter"),
    "with a threat": (400, {"error": {"message": "Your prompt was rejected by our moderation "
        "system. Repeated violations may lead to suspension of your account."}}, "content_filter"),
}  # fmt: skip

NOT_BLOCKED: dict[str, Case] = {
    "a firewall": (403, "<html>blocked by policy</html>"),
    "an option": (400, {"error": {"message": "Invalid value for temperature"}}),
    "the request, repeated": (422, {"detail": [{"loc": ["body"], "msg": "field required", "input":
        {"messages": "sensitive content, credit balance too low, model not found"}}]}),
    "the request, repeated by pydantic": (400, {"message": "1 validation error: field required "
        "[type=missing, input_value={'content': 'sensitive content'}, input_type=dict]"}),
    "a schema": (400, {"error": {"message": "'x' violates schema: must be one of our terms"}}),
    "a constraint": (400, {"error": {"message": "input violates constraint: minLength"}}),
    "a type": (400, {"error": {"message": "The output content type must be text"}}),
    "a code of its": (400, {"error": {"code": "toxicity_threshold_range", "message": "no"}}),
}  # fmt: skip

OF_THE_WORLD: dict[str, Case] = {
    "a plan": (403, {"error": {"message": "This use violates the terms of your plan"}}),
    "a region": (403, {"error": {"message": "Your subscription violates regional regulations"}}),
    "a setting": (400, {"error": {"code": "unsupported_safety_setting", "message": "not this"}}),
    "another": (400, {"error": {"code": "invalid_safety_setting", "message": "Invalid value"}}),
    "a guardrail that is not there": (400, {"error": {"code": "guardrail_not_found", "message":
        "The guardrail identifier is not valid"}}),
    "a filter that is off": (400, {"error": {"message":
        "content_filter is not enabled for this deployment"}}),
    "a firewall": (403, {"error": {"message": "Access blocked by network safety appliance"}}),
    "a filter that broke": (400, {"error": {"code": "ModerationServiceError", "message": "no"}}),
    "a day": (400, {"error": {"message": "Sorry, no more messages of yours today"}}),
    "a resource": (400, {"error": {"message": "The requested resource has been moved"}}),
    "dutch": (400, {"error": {"message": "Tegoed is op"}}),
    "a quota of a filter": (403, {"error": {"code": "moderation_limit", "message": "no more"}}),
    "gemini, a place": (400, {"error": {"code": 400, "status": "FAILED_PRECONDITION", "message":
        "User location is not supported for the API use."}}),
    "openai, a country": (403, {"error": {"code": "unsupported_country_region_territory",
        "message": "Country, region, or territory not supported"}}),
    "openai, no proof": (400, {"error": {"message": "Organization must be verified"}}),
    "vertex, a right": (403, {"error": {"code": 403, "message":
        "Permission 'aiplatform.endpoints.predict' denied on resource"}}),
    "bedrock, a profile": (400, {"message": "On-demand throughput isn't supported for model ID x"}),
    "lm studio": (400, {"error": "Model unloaded while it was busy with another request"}),
    "openrouter": (404, {"error": {"message": "No endpoints found matching your data policy"}}),
    "a code alone": (400, {"error": {"code": "tenant_disabled"}}),
    "another script": (400, {"error": {"message": "Не удалось"}}),
    "german": (400, {"error": {"message": "Das Kontingent reicht nicht aus"}}),
}  # fmt: skip
"""Of the account, the server or the model, in words that no list has: neither block nor final."""
