"""The HTTP client that hosted models share: retries, pace, replies, batches."""
