"""Which answer holds the ids that which operation takes (OpenAPI 3.1, 4.8.20): data of the served document.

Apart from `openapi` because it is a map of the API and nothing else. Programs that explore an API follow it.
"""

from __future__ import annotations


def _link(operation: str, parameter: str, pointer: str) -> dict[str, object]:
    return {"operationId": operation, "parameters": {parameter: f"$response.body#{pointer}"}}


LINKS: dict[tuple[str, str], dict[str, dict[str, object]]] = {
    ("get", "/api/claude/requests"): {
        "200": {
            "request": _link("get_request", "id", "/requests/0/id"),
            "body": _link("get_request_body", "id", "/requests/0/id"),
            "messages": _link("list_messages", "id", "/requests/0/id"),
            "contexts": _link("list_contexts", "request_id", "/requests/0/id"),
            "session": _link("get_session", "session_id", "/requests/0/session_id"),
            "carrying": _link("get_session_carrying", "session_id", "/requests/0/session_id"),
        }
    },
    ("get", "/api/claude/requests/{id}"): {
        "200": {
            "response": _link("get_response", "id", "/response/id"),
            "response_body": _link("get_response_body", "id", "/response/id"),
            "feedback": _link("get_feedback_by_request", "request_id", "/id"),
        }
    },
    ("get", "/api/claude/sessions"): {
        "200": {
            "session": _link("get_session", "session_id", "/sessions/0/session_id"),
            "carrying": _link("get_session_carrying", "session_id", "/sessions/0/session_id"),
        },
    },
    ("get", "/api/claude/feedback"): {
        "200": {
            "show": _link("get_feedback", "id", "/feedback/0/id"),
            "change": _link("update_feedback", "id", "/feedback/0/id"),
            "by_request": _link("get_feedback_by_request", "request_id", "/feedback/0/request_id"),
        }
    },
    ("post", "/api/claude/feedback"): {
        "201": {
            "show": _link("get_feedback", "id", "/id"),
            "change": _link("update_feedback", "id", "/id"),
            "delete": _link("delete_feedback", "id", "/id"),
            "by_request": _link("get_feedback_by_request", "request_id", "/request_id"),
        }
    },
}
"""By method and path, then by status: links by name."""
