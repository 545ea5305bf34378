"""Other people's clients in processes of their own: curl, Python's anthropic SDK, the node SDK.

Each runs with exactly the environment it is given (and PATH), so that nothing of the machine's proxies or certificates
decides a test. Each returns a `Finished`; none raises because the client failed: that may be what a test expects.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from tests.support.claude_code import DUMMY_KEY, cache_directory, install_package

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NODE_SDK = "@anthropic-ai/sdk@1.12.0"
TIMEOUT = 60.0  # seconds
MESSAGE = {"model": "claude-opus-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}

_PYTHON_SDK = """
import json, sys, anthropic
request = json.load(sys.stdin)
client = anthropic.Anthropic(max_retries=0)
if request.pop("stream", False):
    with client.messages.stream(**request) as stream:
        message = stream.get_final_message()
else:
    message = client.messages.create(**request)
print(json.dumps({"text": "".join(b.text for b in message.content if b.type == "text"), "id": message.id,
                  "usage": message.usage.model_dump()}))
"""
_NODE_SDK = """
import Anthropic from '@anthropic-ai/sdk';
const request = JSON.parse(process.env.REQUEST);
const client = new Anthropic({ maxRetries: 0 });
const message = await (request.stream
  ? client.messages.stream(request).finalMessage()
  : client.messages.create(request));
const text = message.content.filter((b) => b.type === 'text').map((b) => b.text).join('');
console.log(JSON.stringify({ text, id: message.id, usage: message.usage }));
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A process that has ended."""

    returncode: int
    stdout: bytes
    stderr: str

    @property
    def json(self) -> dict[str, object]:
        """Standard output as a JSON object; fails with what the process said when it is none."""
        try:
            value = json.loads(self.stdout)
        except ValueError:
            raise AssertionError(f"exit code {self.returncode}: {self.stdout[:500]!r} {self.stderr[-2000:]}") from None
        assert isinstance(value, dict)
        return value


async def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    cwd: Path | None = None,
) -> Finished:
    """Run a program to its end. TimeoutError after `TIMEOUT`, with the program ended."""
    with trio.move_on_after(TIMEOUT):
        done = await trio.run_process(
            [str(part) for part in command],
            env={"PATH": os.environ.get("PATH", os.defpath), **(env or {})},
            stdin=stdin,
            cwd=cwd,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        return Finished(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr.decode(errors="replace"))
    raise TimeoutError(f"{command[0]} did not end within {TIMEOUT:.0f} s")


async def curl(*args: str, env: Mapping[str, str] | None = None, stdin: bytes = b"") -> Finished:
    """Run curl, silent but for errors. ``--data-binary @-`` sends `stdin` as the body."""
    return await run(["curl", "--silent", "--show-error", "--no-buffer", *args], env=env, stdin=stdin)


async def python_sdk(env: Mapping[str, str], request: Mapping[str, object] | None = None) -> Finished:
    """Ask for a message with Python's SDK (as this environment has it); prints text, id and usage as JSON."""
    body = json.dumps({**MESSAGE, **(request or {})}).encode()
    return await run([sys.executable, "-c", _PYTHON_SDK], env={"ANTHROPIC_API_KEY": DUMMY_KEY, **env}, stdin=body)


def install_node_sdk() -> Path:
    """Install the node SDK once; returns the directory whose modules hold it."""
    target = cache_directory() / NODE_SDK.replace("/", "-")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            fresh = Path(scratch) / "sdk"
            fresh.mkdir()
            (fresh / "package.json").write_text('{"type": "module"}')
            (fresh / "ask.js").write_text(_NODE_SDK)
            install_package(fresh, NODE_SDK)
            try:
                fresh.rename(target)
            except OSError:
                if not target.exists():
                    raise
    return target


async def node_sdk(directory: Path, env: Mapping[str, str], request: Mapping[str, object] | None = None) -> Finished:
    """Ask for a message with the node SDK. It ignores proxy variables: give it ANTHROPIC_BASE_URL."""
    node = shutil.which("node") or "node"
    body = json.dumps({**MESSAGE, **(request or {})})
    return await run([node, "ask.js"], env={"ANTHROPIC_API_KEY": DUMMY_KEY, **env, "REQUEST": body}, cwd=directory)
