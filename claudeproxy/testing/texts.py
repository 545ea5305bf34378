"""The words of the demonstration: a herbarium, its tools, servers, memory and skill. All of it is invented here.

Apart because it is long and says nothing about form. Where a rule of attribution looks for a marker, the marker is
the real client's (its first words only); whatever follows is ours.
"""

from __future__ import annotations

from claudeproxy.testing.client import PROJECT

IDENTITY = "You are a Claude agent, built on Anthropic's Claude Agent SDK."

FRAMEWORK_STATIC = """
This stands where the client's own prompt would be: general rules for an agent that works in a terminal.

# Harness
 - What you write outside of tool calls is shown to the person in a terminal of eighty columns.
 - Tools ask for leave where the person's settings say so; a tool that was refused is not called again in the same way.
 - Several calls that do not depend on each other belong in one answer.

# Doing the work
 - Read a file before you change it, change no more than was asked, and keep to the style you find.
 - Prefer the dedicated tools to shell commands where both would do.
 - When a check fails, say which and show its last lines; never call something done that you did not see work.

# Words
 - Be brief. Name files with their line numbers, and quote no more of them than is needed to follow you.
"""

FRAMEWORK_DYNAMIC = """# Text output
Say in one sentence what you are about to do before the first call, and at the end what has changed.

# Session-specific guidance
 - Skills are listed in the conversation; load one with the Skill tool before you act on what it is about.
 - Hand a self-contained question to a subagent when its answer is short and the way to it is long.

# Context management
Old tool results may be taken out of the conversation: note what you will still need."""

SUBAGENT_NOTES = """Notes:
- Agent threads always have their cwd reset between calls: use absolute paths only.
- Report in at most five lines; whoever called you sees nothing else."""
SUBAGENT_PROMPT = (
    "You are the botanist of this project. You check names and families of plants against its files."
    f"\n\n{SUBAGENT_NOTES}"
)

USER_MEMORY = "Answer in British English. I work with two monitors, so long lines are fine."
PROJECT_MEMORY = """# Herbarium
Records are one YAML file a sheet under `sheets/`. Names follow the checklist in `data/checklist.csv`.
Never invent an accession number; run `make check` after every change."""
RULE_MEMORY = "Dates of collection are written as ISO 8601, also where the label says otherwise."

SESSION_HOOK = "SessionStart:startup hook success: 412 sheets, 3 without a family, last sync 06:10"
PROMPT_HOOK = "UserPromptSubmit hook success: disk quota 61 %"
BASH_HOOK = "PostToolUse:Bash hook additional context: the checklist was updated today"

ENVIRONMENT = f"""# Environment
You have been invoked in the following environment:
 - Primary working directory: {PROJECT}
 - Is a git repository: true
 - Platform: linux
 - Shell: bash"""
MODEL_LINE = "You are powered by the model named {name}. The exact model ID is {id}."
DATE_LINE = "Today's date is 2026-11-22."
GIT_STATUS = """As you answer the user's questions, you can use the following context:
# gitStatus
This is the git state of the project when the conversation began.

Current branch: relabel

Status:
M sheets/0412.yaml

Recent commits:
5f0c1de Add the sheets of the Alps journey
91b7a02 Check families against the checklist"""
ATTRIBUTION = """Attribution for git commits and pull requests you create in this project:
- End commit messages with a line that names the assistant."""

MEMORY = (
    "Codebase and user instructions are shown below. Keep to them.\n\n"
    "Contents of /home/robin/.claude/CLAUDE.md (user's private global instructions for all projects):\n\n"
    f"{USER_MEMORY}\n\n"
    f"Contents of {PROJECT}/CLAUDE.md (project instructions, checked into the codebase):\n\n{PROJECT_MEMORY}\n\n"
    f"Contents of {PROJECT}/.claude/rules/dates.md (project instructions, checked into the codebase):\n\n{RULE_MEMORY}"
)

SKILLS = """The following skills are available for use with the Skill tool:

- press-labels: Lay out and check the labels of herbarium sheets
- count-stamens: Measure flowers on scanned sheets
  Use it for scans of 600 dpi and more."""
SKILL_BODY = f"""Base directory for this skill: {PROJECT}/.claude/skills/press-labels

# Labels
A label is 100 mm wide and has four lines: family; genus, species and author; place and date; collector and number.
Shorten the author by the usual abbreviations, never the species. A label that does not fit is set one size smaller,
down to 7 points, and after that its place name is shortened from the left.

Check with `bin/labels --check SHEET`: it prints the lines as they will be set, and the width in millimetres."""

AGENTS = """Available agent types for the Agent tool:
- botanist: Checks names and families of plants (Tools: Read, Bash)
- general-purpose: Looks into open questions over many files (Tools: *)"""

SERVER_INSTRUCTIONS = {
    # The heading inside is part of this server's text: only names of servers begin a server's section.
    "atlas": "Distribution maps and accepted names.\n\n## Grid\nCells are named by row and column, as in `R7 C12`.",
    "issue_tracker": "Open questions of the herbarium. Close an issue only when its sheet has been checked.",
}
MCP_INSTRUCTIONS = (
    "# MCP Server Instructions\n\nThe following MCP servers have provided instructions for how to use their tools "
    "and resources:\n\n" + "\n\n".join(f"## {name}\n{text}" for name, text in SERVER_INSTRUCTIONS.items())
)


def tool(name: str, description: str, /, **parameters: str) -> dict[str, object]:
    """Describe a tool whose parameters are all strings; those whose text begins with ``(optional)`` may be left out."""
    required = [key for key, value in parameters.items() if not value.startswith("(optional)")]
    properties = {key: {"type": "string", "description": value} for key, value in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"name": name, "description": description, "input_schema": schema}


BUILT_IN_TOOLS = (
    tool(
        "Agent",
        "Start a subagent with a task of its own. It sees nothing of this conversation but the prompt, and hands back "
        "one report. Types are listed in the conversation.",
        description="What it is about, in three to five words",
        prompt="The whole task, with every path and name it needs",
        subagent_type="(optional) Which agent to start",
    ),
    tool(
        "Bash",
        "Run a command in a shell that keeps its directory between calls, not its variables. Output beyond thirty "
        "thousand characters is cut in the middle. Commands that wait for input are ended after two minutes.",
        command="The command line",
        description="(optional) What it does, in a few words",
    ),
    tool(
        "Edit",
        "Replace a piece of a file that was read before. The piece must occur exactly once.",
        file_path="Absolute path",
        old_string="What is there",
        new_string="What shall be there",
    ),
    tool(
        "Read",
        "Read a text file, a picture or a PDF. Lines come numbered; two thousand at most in one call.",
        file_path="Absolute path",
        offset="(optional) The first line wanted",
    ),
    tool(
        "Skill",
        "Load a skill by its name, as the listing spells it.",
        skill="The name",
        args="(optional) Its arguments",
    ),
    tool("ToolSearch", "Load the schemas of deferred tools.", query="`select:NAME[,NAME]`, or words to search for"),
    tool("Write", "Write a file, replacing what is there.", file_path="Absolute path", content="The whole text"),
)

ATLAS_TOOLS = (
    tool(
        "mcp__atlas__accepted_name",
        "Look up the accepted name of a plant. Understands synonyms, misspellings of up to two letters and vernacular "
        "names in six languages; answers with the name, its author, the family and the place of publication.",
        name="Any name of the plant",
        rank="(optional) species, subspecies or variety",
    ),
    tool("mcp__atlas__cells", "List the grid cells where a plant has been recorded.", name="The accepted name"),
)
TRACKER_TOOLS = (
    tool("mcp__issue_tracker__find_issue", "Find issues by words in their title or text.", words="What to look for"),
    tool("mcp__issue_tracker__close_issue", "Close an issue with a remark.", id="Such as HERB-17", remark="Why"),
)
DEFERRED_TOOLS = "\n".join(
    (
        "The following deferred tools are now available via ToolSearch. Their schemas are not loaded.",
        "NotebookEdit",
        "TaskCreate",
        "WebFetch",
        *(str(entry["name"]) for entry in (*ATLAS_TOOLS, *TRACKER_TOOLS)),
    )
)
SHEET = """     1\taccession: H-0412
     2\tname: Gentiana bavarica L.
     3\tfamily: null
     4\tcollected: 2026-07-19
     5\tplace: scree above the upper hut, 2410 m
     6\tcollector: R. Feld"""


def hand_back(agent_id: str, report: str) -> str:
    """Word a subagent's report as its parent gets it: each line indented, then the id and the totals."""
    lines = "\n".join(f"  {line}" for line in report.splitlines())
    return (
        f"[Subagent hand-back] What follows was written by a subagent. The report follows:\n{lines}\n"
        f"agentId: {agent_id} (use SendMessage with to: '{agent_id}' to go on)\n"
        "<usage>subagent_tokens: 2610\ntool_uses: 1\nduration_ms: 4178</usage>"
    )
