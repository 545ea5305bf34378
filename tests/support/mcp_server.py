"""A small MCP server over stdio, without dependencies: what the real client talks to in the tests.

Run as a program: ``python mcp_server.py NAME``. Speaks JSON-RPC 2.0, one message a line (MCP specification 2025-06-18):
initialize (with instructions), tools/list, tools/call, prompts/list, prompts/get, ping. Anything else is an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping

Params = Mapping[str, object]
Tool = tuple[str, str, Callable[[Mapping[str, object]], str]]  # description, parameter, what it answers

SERVERS: dict[str, dict[str, Tool]] = {
    "docs": {
        "lookup": (
            "Look a term up in the handbook.",
            "term",
            lambda a: f"Handbook entry on {a.get('term')}: see chapter 7.",
        ),
        "list_chapters": (
            "List the chapters of the handbook.",
            "part",
            lambda a: f"Chapters of {a.get('part')}: 1 to 9",
        ),
    },
    "issue_tracker": {
        "find_issue": ("Find an issue by words.", "words", lambda a: f"ISSUE-17 mentions {a.get('words')}"),
        "close_issue": ("Close an issue.", "id", lambda a: f"{a.get('id')} is closed now"),
    },
}


def instructions(name: str) -> str:
    """What the server tells the model about itself; the tests look for these very words."""
    return f"The {name} server knows this project.\n\n## When to use it\nAsk {name} before you guess."


def answer(name: str, method: str, params: Params) -> dict[str, object] | None:
    """The result of a request; None for a method that we do not have."""
    tools = SERVERS[name]
    arguments = params.get("arguments")
    given = arguments if isinstance(arguments, dict) else {}
    match method:
        case "initialize":
            return {
                "protocolVersion": params.get("protocolVersion", "2025-06-18"),
                "capabilities": {"tools": {}, "prompts": {}},
                "serverInfo": {"name": name, "version": "1.0.0"},
                "instructions": instructions(name),
            }
        case "tools/list":
            return {"tools": [_describe(tool, *tools[tool][:2]) for tool in tools]}
        case "tools/call" if params.get("name") in tools:
            text = tools[str(params["name"])][2](given)
            return {"content": [{"type": "text", "text": text}], "isError": False}
        case "prompts/list":
            return {"prompts": [{"name": "review", "description": f"Review with {name}", "arguments": []}]}
        case "prompts/get":
            text = f"Please review this with the help of {name}."
            return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}
        case "ping":
            return {}
    return None


def _describe(name: str, description: str, parameter: str) -> dict[str, object]:
    schema = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    return {"name": name, "description": description, "inputSchema": schema}


def main(name: str) -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue  # a notification
        result = answer(name, message.get("method", ""), message.get("params") or {})
        reply: dict[str, object] = {"jsonrpc": "2.0", "id": message["id"]}
        reply |= (
            {"result": result} if result is not None else {"error": {"code": -32601, "message": "Method not found"}}
        )
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
