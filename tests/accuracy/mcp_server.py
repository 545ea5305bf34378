"""An MCP server over stdio whose every word is planted: ``python mcp_server.py SPEC.json``.

The spec holds `name`, `instructions`, `tools` (name to description, parameter, result, is_error, structured), `prompts`
(name to description, text) and `resources` (uri to name, description, text). JSON-RPC 2.0, one message a line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

Spec = dict[str, Any]


def answer(spec: Spec, method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request; None for a method that we do not have."""
    match method:
        case "initialize":
            return {
                "protocolVersion": params.get("protocolVersion", "2025-06-18"),
                "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
                "serverInfo": {"name": spec["name"], "version": "1.0.0"},
                "instructions": spec["instructions"],
            }
        case "tools/list":
            return {"tools": [_tool(name, tool) for name, tool in spec["tools"].items()]}
        case "tools/call" if params.get("name") in spec["tools"]:
            return _result(spec["tools"][params["name"]])
        case "prompts/list":
            return {"prompts": [{"name": n, "description": p["description"]} for n, p in spec["prompts"].items()]}
        case "prompts/get":
            words = spec["prompts"][params["name"]]["text"]
            return {"messages": [{"role": "user", "content": {"type": "text", "text": words}}]}
        case "resources/list":
            resources = spec["resources"].items()
            return {"resources": [{"uri": u, "name": r["name"], "description": r["description"]} for u, r in resources]}
        case "resources/templates/list":
            return {"resourceTemplates": []}
        case "resources/read":
            words = spec["resources"][params["uri"]]["text"]
            return {"contents": [{"uri": params["uri"], "mimeType": "text/plain", "text": words}]}
        case "ping":
            return {}
    return None


def _tool(name: str, tool: Spec) -> Spec:
    field = {"type": "string", "description": tool["parameter"]}
    schema = {"type": "object", "properties": {"q": field}}
    return {"name": name, "description": tool["description"], "inputSchema": schema}


def _result(tool: Spec) -> Spec:
    result: Spec = {"content": [{"type": "text", "text": tool["result"]}], "isError": bool(tool.get("is_error"))}
    if tool.get("structured"):
        result["structuredContent"] = {"answer": tool["result"]}
    return result


def main(path: str) -> None:
    """Answer until standard input ends."""
    spec = json.loads(Path(path).read_text(encoding="utf-8"))
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue  # a notification
        result = answer(spec, message.get("method", ""), message.get("params") or {})
        reply: Spec = {"jsonrpc": "2.0", "id": message["id"]}
        reply |= {"result": result} if result is not None else {"error": {"code": -32601, "message": "unknown method"}}
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
