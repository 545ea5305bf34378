"""Captures weighed: what people thought of the answers, and what each source of context was used for and cost.

`feedback` (`FeedbackManager`) changes, `metrics` (`SourceMetrics`) reads; both work on an open `CaptureStorage`.
"""
