"""The application: every command under its name, and what becomes of errors.

Exit codes: 0 all well, 1 not found, a failed check or anything that went wrong, 2 a command line or configuration that
cannot be used, 130 after Ctrl-C, 141 when whoever read the output went away. `run` passes its command's code on,
and ends with 125 when --strict keeps it from running it.
"""

from __future__ import annotations

import difflib
import gc
import importlib
import os
import sys
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.core import TyperGroup

from claudeproxy.errors import ClaudeProxyError, ConfigError, NotFoundError
from claudeproxy_cli.parameters import read_plainly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer._click import Command, Context, HelpFormatter

INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE: what a program that does not catch it ends with

# Name to module and what it is for: `--help` needs no more, and a command is imported when it is called.
COMMANDS: Final = {
    "serve": ("claudeproxy_cli.serve", "Run proxy, capture and REST API until Ctrl-C."),
    "run": ("claudeproxy_cli.run", "Run a command with its API traffic captured."),
    "query": ("claudeproxy_cli.query", "List captures and their largest sources."),
    "tail": ("claudeproxy_cli.tail", "Follow captures as they end."),
    "show": ("claudeproxy_cli.show", "Show a request, where its context came from and what it cost."),
    "sessions": ("claudeproxy_cli.sessions", "List sessions, or show one with agents and turns."),
    "sources": ("claudeproxy_cli.sources", "List sources with their use, tokens, cost, ratings."),
    "quota": ("claudeproxy_cli.quota", "Show how full the account's limits are, and what ate them."),
    "secrets": ("claudeproxy_cli.secrets", "Show which secrets left the machine, through which source."),
    "feedback": ("claudeproxy_cli.feedback", "Rate answers, and see the ratings."),
    "export": ("claudeproxy_cli.export", "Write captures as JSON lines or HAR."),
    "pause": ("claudeproxy_cli.pause", "Capture nothing for a time; traffic is passed on as ever."),
    "resume": ("claudeproxy_cli.resume", "Capture again after `pause`."),
    "purge": ("claudeproxy_cli.purge", "Delete captures for good: texts, search index, freed pages."),
    "retention": ("claudeproxy_cli.retention", "What is kept, and for how long."),
    "metrics": ("claudeproxy_cli.metrics", "The sums behind `sources`."),
    "demo": ("claudeproxy_cli.demo", "Show it all at work, without key or network."),
    "doctor": ("claudeproxy_cli.doctor", "Check the installation and a real handshake."),
    "ca": ("claudeproxy_cli.ca", "The certificate authority of the proxy."),
    "rules": ("claudeproxy_cli.rules", "The attribution rules, and your own."),
    "config": ("claudeproxy_cli.configcmd", "The configuration."),
}


class LazyGroup(TyperGroup):
    """The commands of `COMMANDS`, each imported when it is asked for."""

    def list_commands(self, ctx: object) -> list[str]:
        """Every name, in the order in which a person meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """Import one; a name that there is not is a usage error that names the nearest."""
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {cmd_name!r}.{meant}")
        module = importlib.import_module(COMMANDS[cmd_name][0])
        if not gc.isenabled():  # off since `start`: what is loaded need not be looked at ever again
            gc.freeze()
            gc.enable()
        command: Command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: object, formatter: HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])


app = typer.Typer(
    name="claudeproxy",
    cls=LazyGroup,
    help="What is in my context, where did it come from, what did it cost? "
    "A local proxy for Claude Code, the Agent SDK and the Anthropic API.",
    epilog="Start with `claudeproxy run -- claude`, then look with `claudeproxy query`.",
    # Formatted help costs 0.1 s more than the rest of the command.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(value: bool) -> None:
    if value:
        from claudeproxy import __version__

        print(f"claudeproxy {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (``sys.argv`` when None) and return the exit code."""
    read_plainly()
    try:
        app(args=arguments, prog_name="claudeproxy")
        code: object = 0
    except SystemExit as leaving:
        code = leaving.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        return _reader_gone()
    except ClaudeProxyError as error:
        print(f"claudeproxy: {describe(error)}", file=sys.stderr)
        code = 2 if isinstance(error, ConfigError) else 1
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _reader_gone()
    return code if isinstance(code, int) else 0 if code is None else 1


def describe(error: ClaudeProxyError) -> str:
    """The error for a person: its text, and for an unknown id what was probably meant."""
    text = str(error)
    if isinstance(error, NotFoundError) and error.near:
        text += f"\ndid you mean {' or '.join(_shortened(error.near))}?"
    return text


def _shortened(ids: Sequence[str]) -> Sequence[str]:
    """Their beginnings, as `query` shows them, where those tell them apart."""
    from claudeproxy_cli.listing import SHORT_ID

    short = {one[:SHORT_ID] for one in ids}
    return [one[:SHORT_ID] for one in ids] if len(short) == len(ids) else ids


def _reader_gone() -> int:
    """``| head`` has seen enough. Python would complain when it flushes at the end: there is nowhere to complain to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
