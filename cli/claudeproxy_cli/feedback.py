"""``claudeproxy feedback``: what you thought of an answer; the sources of its context earn or lose by it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Final

import typer

from claudeproxy_cli.arguments import period
from claudeproxy_cli.listing import SHORT_ID, local_now, open_captures
from claudeproxy_cli.options import (
    ConfigOption,
    CsvOption,
    Format,
    HomeOption,
    JsonlOption,
    JsonOption,
    output_format,
    program,
    reader_home,
)
from claudeproxy_cli.render import Column, emit, is_terminal, note, write_json
from claudeproxy_cli.times import iso, local_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from claudeproxy.insight.feedback import FeedbackManager
    from claudeproxy.insight.values import QualityFeedback

app = typer.Typer(
    help="Rate answers, and see the ratings.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)

WORDS: Final = {"up": 1.0, "good": 1.0, "down": -1.0, "bad": -1.0}
SHOWN: Final = 4  # sources by name
LOCAL_USER: Final = "local-user"  # as `FeedbackManager` has it, which is not imported to print a help text

RatingOption = Annotated[str, typer.Option("--rating", metavar="R", help="-1.0 to 1.0, or up, down, good, bad.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the rating or of its request; a beginning will do.")]

COLUMNS: Final = (
    Column(key="submitted_at", title="time", text=local_time),
    Column(key="id", title="id", text=lambda value: str(value)[:SHORT_ID]),
    Column(key="request_id", title="request", text=lambda value: str(value)[:SHORT_ID]),
    Column(key="rating", title="rating", text=lambda value: f"{value:+.2f}", align="right"),
    Column(key="user_id", title="by", flexible=True, optional=True),
    Column(key="feedback_text", title="text", flexible=True),
)


@app.callback()
def _root() -> None:
    """Rate answers, and see the ratings.

    A rating counts for each source of the request's context; see `claudeproxy sources`.
    """


@app.command("add", epilog="Example: claudeproxy feedback add 3f2a91c0 --rating up --text 'found the bug at once'")
def add_command(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id or unique beginning of a request; see `query`.")],  # noqa: A002
    rating: RatingOption,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; 2,000 characters at the most.")] = None,
    user: Annotated[str, typer.Option(metavar="NAME", help="Whose opinion it is.")] = LOCAL_USER,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Rate the answer to a request. A request has one rating; change it with `update`."""
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    value = parse_rating(rating)
    with _manager(home, config, to_write=True) as manager:
        _done("rated", manager.submit_feedback(id, value, text, user), output)


@app.command("list", epilog="Example: claudeproxy feedback list --since 7d --max -0.5")
def list_command(
    since: Annotated[str | None, typer.Option(metavar="TIME", help="Submitted from: 1h, 2d, ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="To; a day is taken whole.")] = None,
    least: Annotated[
        float | None, typer.Option("--min", metavar="R", min=-1, max=1, help="Rated so or better.")
    ] = None,
    most: Annotated[float | None, typer.Option("--max", metavar="R", min=-1, max=1, help="Rated so or worse.")] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="By this person.")] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most.")] = 20,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """List ratings, the latest first."""
    from claudeproxy.insight.values import FeedbackFilters

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    now = local_now()
    begin, end = period(since, until, now)
    filters = FeedbackFilters(
        min_rating=least,
        max_rating=most,
        user_id=user,
        since=begin,
        until=end,
        limit=limit,
    )
    with _manager(home, config) as manager:
        page = manager.list_feedback(filters)
        if page.rows or output is not Format.TABLE:
            emit([feedback_row(one) for one in page.rows], COLUMNS, output)
        if not page.rows:
            note("no ratings" if filters == FeedbackFilters(limit=limit) else "no rating matches")
        elif page.total > len(page.rows) and is_terminal():
            note(f"{len(page.rows)} of {page.total:,}; --limit N shows more")


@app.command("show", epilog="Example: claudeproxy feedback show 3f2a91c0 --json")
def show_command(
    id: IdArgument,  # noqa: A002
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Show one rating and the sources that it counts for."""
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    with _manager(home, config) as manager:
        _show(_find(manager, id), output)


@app.command("update", epilog="Example: claudeproxy feedback update 3f2a91c0 --rating -0.5 --text 'on second thought'")
def update_command(
    id: IdArgument,  # noqa: A002
    rating: Annotated[
        str | None, typer.Option("--rating", metavar="R", help="-1.0 to 1.0, or up, down, good, bad.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Another text.")] = None,
    no_text: Annotated[bool, typer.Option("--no-text", help="Take the text away.")] = False,
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Change a rating, its text, or both."""
    from claudeproxy.insight.values import UNCHANGED

    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    if text is not None and no_text:
        raise typer.BadParameter("give one of --text and --no-text")
    if rating is None and text is None and not no_text:
        raise typer.BadParameter("nothing to change: give --rating, --text or --no-text")
    value = UNCHANGED if rating is None else parse_rating(rating)
    words = text if text is not None or no_text else UNCHANGED
    with _manager(home, config, to_write=True) as manager:
        changed = manager.update_feedback(_find(manager, id).id, rating=value, feedback_text=words)
        _done("changed", changed, output)


@app.command("delete", epilog="Example: claudeproxy feedback delete 3f2a91c0")
def delete_command(
    id: IdArgument,  # noqa: A002
    as_json: JsonOption = False,
    jsonl: JsonlOption = False,
    csv: CsvOption = False,
    home: HomeOption = None,
    config: ConfigOption = None,
) -> None:
    """Take a rating back; the averages are what they were without it."""
    output = output_format(as_json=as_json, jsonl=jsonl, csv=csv, terminal=is_terminal())
    with _manager(home, config, to_write=True) as manager:
        _done("deleted", manager.delete_feedback(_find(manager, id).id), output)


def parse_rating(text: str) -> float:
    """A number, or a word for one end of the scale. Raises BadParameter; the range is the manager's affair."""
    word = text.strip().lower()
    if word in WORDS:
        return WORDS[word]
    try:
        return float(word)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is no rating: give a number from -1.0 to 1.0, or up, down, good, bad", param_hint="--rating"
        ) from None


def feedback_row(feedback: QualityFeedback) -> dict[str, object]:
    """One rating under the keys of the API."""
    return {
        "id": feedback.id,
        "request_id": feedback.request_id,
        "response_id": feedback.response_id,
        "rating": feedback.rating,
        "feedback_text": feedback.feedback_text,
        "user_id": feedback.user_id,
        "submitted_at": iso(feedback.submitted_at),
        "affected_sources": list(feedback.affected_sources),
    }


@contextmanager
def _manager(home: Path | None, config: Path | None, *, to_write: bool = False) -> Iterator[FeedbackManager]:
    """The one manager, while its storage is open. A wrong value is a wrong command line."""
    from claudeproxy.errors import ConflictError, ValidationError
    from claudeproxy.insight.feedback import FeedbackManager

    with open_captures(reader_home(home, config), to_write=to_write) as storage:
        try:
            yield FeedbackManager(storage)
        except ValidationError as error:
            raise typer.BadParameter(str(error)) from None
        except ConflictError as error:
            raise ConflictError(
                f"{error}: change it with `{program()} feedback update`", existing=error.existing
            ) from None


def _find(manager: FeedbackManager, wanted: str) -> QualityFeedback:
    """The rating of that id, or of the request of that id."""
    from claudeproxy.errors import NotFoundError

    try:
        return manager.get_feedback(wanted)
    except NotFoundError as unknown:
        try:
            return manager.get_feedback_by_request(wanted)
        except NotFoundError as error:
            raise (error if "has no feedback" in str(error) else unknown) from None


def _show(feedback: QualityFeedback, output: Format) -> None:
    row = feedback_row(feedback)
    if output is Format.JSON:
        write_json(row)
    else:
        emit([row], COLUMNS, output)
        if output is Format.TABLE:
            note(f"counts for {_named(feedback.affected_sources)}")


def _named(sources: Sequence[str]) -> str:
    """The largest sources by name, and how many more there are: a request of the real client has some seventy."""
    more = len(sources) - SHOWN
    return (", ".join(sources[:SHOWN]) or "no source") + (f" and {more} more (all of them: --json)" if more > 0 else "")


def _done(what: str, feedback: QualityFeedback, output: Format) -> None:
    if output is Format.TABLE:
        note(f"{what}:")
    _show(feedback, output)
