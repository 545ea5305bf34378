"""The filters of `tail` and `export`: those of `query`, under the same names and with the same meaning.

Apart because two commands take all of them; each option is declared once, here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from claudeproxy_cli.arguments import source_type, state

if TYPE_CHECKING:
    from claudeproxy.store.storage import CaptureStorage
    from claudeproxy.store.values import RequestFilters

SourceOption = Annotated[
    str | None, typer.Option("--source", metavar="NAME", help="With this source: 'MCP: docs', or docs.")
]
TypeOption = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="With a source of this type.")]
ClassOption = Annotated[str | None, typer.Option("--class", metavar="CLASS", help="main, subagent, ...")]
MethodOption = Annotated[str | None, typer.Option("--method", metavar="METHOD", help="GET, POST, ...")]
PathOption = Annotated[str | None, typer.Option("--path", metavar="PATH", help="URL path; * at its end for a prefix.")]
ModelOption = Annotated[str | None, typer.Option("--model", metavar="MODEL", help="The model that was asked for.")]
StatusOption = Annotated[int | None, typer.Option("--status", metavar="CODE", min=100, max=599, help="HTTP status.")]
StateOption = Annotated[
    str | None, typer.Option("--state", metavar="STATE", help="complete, in_flight, aborted_by_client, ...")
]
SessionOption = Annotated[
    str | None, typer.Option("--session", metavar="ID", help="The client's session; see `sessions`.")
]
ProjectOption = Annotated[
    str | None, typer.Option("--project", metavar="DIR", help="The client's directory, or its last parts.")
]


def request_filters(
    *,
    source: str | None,
    kind: str | None,
    request_class: str | None,
    method: str | None,
    path: str | None,
    model: str | None,
    status: int | None,
    status_word: str | None,
    project: str | None,
) -> RequestFilters:
    """The filters that are meant, but for the session. Raises typer.BadParameter."""
    from claudeproxy.store.values import RequestFilters

    return RequestFilters(
        source=source,
        source_type=source_type(kind),
        request_class=request_class,
        method=method.upper() if method else None,
        path=path,
        model=model,
        status=status,
        state=state(status_word),
        project=project,
    )


def of_session(storage: CaptureStorage, session: str | None) -> str | None:
    """The whole id of a session. Raises NotFoundError with near ones."""
    if session is None:
        return None
    from claudeproxy.insight.sessions import Sessions

    return Sessions(storage).find(session)
