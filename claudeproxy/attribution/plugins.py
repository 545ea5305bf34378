"""Which plugins a request shows: ``NAME:SKILL`` is a plugin's skill, or a command in a folder NAME of the project's.

Apart because both are spelled alike in every listing since 2.1, and what tells them apart stands elsewhere: agents
with such a name (only plugins have them), servers of plugins, where a skill lies, the marks in 2.0's own list. Where
nothing does, the name is kept and no plugin is claimed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from claudeproxy.attribution.names import normalize_server
from claudeproxy.model import SourceType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from claudeproxy.attribution.scene import Scene
    from claudeproxy.attribution.views import BlockView, ToolUse
    from claudeproxy.model import Segment, Source

SKILL_BASE = "Base directory for this skill: "
_OWN_SKILLS = "/.claude/skills/"  # the project's and the user's; a plugin's lie in the plugin's folder
_TYPED = re.compile(r"<command-name>/?(?P<name>[^<\n:]+:[^<\n]+)</command-name>")
_AGENT = re.compile(r"^- (?P<plugin>[^\s:]+):[^\s:]+: (?:[^\n]|\n(?!- ))*?\(Tools: ", re.MULTILINE)
_MARKED = re.compile(r"\(plugin:(?P<plugin>[^\s()@:]+)(?:@[^\s()]*)?\)$", re.MULTILINE)  # 2.0, after a description
_SKILL_NAME = re.compile(r"^<name>\n(?P<name>[^\n:]+:[^\n]+)\n</name>$", re.MULTILINE)
_NAMED = (SourceType.SKILL, SourceType.COMMAND)


def listed_plugins(text: str) -> tuple[str, ...]:
    """Return the plugins that the client's listings in a text show: by their agents, or marked as such."""
    found = [match["plugin"] for match in _AGENT.finditer(text)] if "(Tools: " in text else []
    return tuple(dict.fromkeys([*found, *(match["plugin"] for match in _MARKED.finditer(text))]))


def listed_skills(description: str) -> tuple[str, ...]:
    """Return the names with a colon that 2.0 lists in the description of `Skill`."""
    return tuple(_SKILL_NAME.findall(description))


def skill_folder(body: str) -> str:
    """Return the folder that a skill's body names in its first line."""
    return body[len(SKILL_BASE) :].split("\n", 1)[0].replace("\\", "/").rstrip("/")


def is_foreign(body: str) -> bool:
    """Tell whether a text is the body of a skill that is neither the project's nor the user's own."""
    return body.startswith(SKILL_BASE) and _OWN_SKILLS not in skill_folder(body) + "/"


def used_plugins(texts: Iterable[str], uses: Mapping[str, ToolUse]) -> set[tuple[str, str]]:
    """Return the plugins of skills that were called or typed, and whose body lies outside the project's own folders.

    Each with the folder of its skills.
    """
    folders: dict[str, str] = {}
    called = {use.skill for use in uses.values() if use.name == "Skill" and use.skill is not None}
    for text in texts:
        if is_foreign(text):
            root, _slash, skill = skill_folder(text).rpartition("/")
            folders[_plain(skill)] = root
        elif "<command-name>" in text[:1000] and (found := _TYPED.search(text, 0, 2000)) is not None:
            called.add(found["name"].strip())
    parts = [name.partition(":") for name in called if ":" in name]
    return {(plugin, folders[_plain(skill)]) for plugin, _colon, skill in parts if plugin and _plain(skill) in folders}


def spelled_plugins(view: BlockView) -> set[str]:
    """Return the plugins of servers that a text spells as ``plugin:PLUGIN:SERVER``, and of those it lists."""
    parts = [heading.split(":") for heading in view.headings]
    return {*view.plugins, *(part[1] for part in parts if len(part) == 3 and part[0] == "plugin")}


def _plain(skill: str) -> str:
    """A skill's name as the newest client writes it where a dot stands in its folder's."""
    return skill.replace(".", "-")


def full_name(name: str, body: str, scene: Scene) -> str:
    """Return a plugin's skill by its whole name where the client wrote the last part only, as 2.0 does.

    The list tells it, or another skill of the plugin's that lies beside it.
    """
    if ":" in name or not is_foreign(body):
        return name
    whole = [skill for skill in scene.skills if skill.rpartition(":")[2] == name]
    if len(whole) == 1:
        return whole[0]
    beside = [plugin for plugin, root in scene.skill_roots if root == skill_folder(body).rpartition("/")[0]]
    return f"{beside[0]}:{name}" if len(beside) == 1 else name


def proven(segments: tuple[Segment, ...], scene: Scene) -> tuple[Segment, ...]:
    """Return the segments without the plugins that nothing in the request shows to be one."""
    sources = {segment.source for segment in segments}
    wrong = {source for source in sources if _is_claimed(source) and not _is_shown(source.plugin or "", scene)}
    if not wrong:
        return segments
    return tuple(
        replace(segment, source=replace(segment.source, plugin=None)) if segment.source in wrong else segment
        for segment in segments
    )


def _is_claimed(source: Source) -> bool:
    return source.type in _NAMED and source.plugin is not None and (source.name or "").startswith(f"{source.plugin}:")


def _is_shown(plugin: str, scene: Scene) -> bool:
    spelled = dict(scene.servers.plugins)
    begin = f"plugin_{normalize_server(plugin)}_"
    shown = scene.plugins | {known for known, _server in spelled.values()}
    return plugin in shown or any(server.startswith(begin) for server in scene.servers.known if server not in spelled)
