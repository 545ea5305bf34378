from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request

COMMAND = (sys.executable, "-m", "claudeproxy.testing")


def test_it_answers_whoever_asks_and_ends_with_ctrl_c() -> None:
    with subprocess.Popen([*COMMAND, "--reply", "as told"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        body = {"model": "claude-opus-4-8", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
        for _ in range(2):
            request = urllib.request.Request(
                f"{url}/v1/messages",
                json.dumps(body).encode(),
                {"content-type": "application/json", "x-api-key": "sk-ant-api03-dummy", "anthropic-version": "x"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                message = json.load(answer)
            assert message["content"][0]["text"] == "as told"
            assert message["usage"]["input_tokens"] > 0
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_a_port_that_is_taken_is_one_line() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        port = first.stdout.readline().strip().rpartition(":")[2]
        second = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=20)
        first.kill()
    assert second.returncode == 1
    (line,) = second.stderr.splitlines()
    assert f"cannot listen on port {port}" in line
