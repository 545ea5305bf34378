"""Captures as files for other tools: JSON lines with everything that is known, or an HTTP archive.

In reading order: `exchanges` finds and reads what is asked for, one exchange at a time; `bodies` makes text of bytes;
`jsonl` and `har` are the two formats; `formats` writes a whole file in pieces. It opens no file and knows no API.
"""

from __future__ import annotations

from claudeproxy.export.exchanges import matching_ids
from claudeproxy.export.formats import EXPORTERS, Exporter, ExportFormat, export

__all__ = ["EXPORTERS", "ExportFormat", "Exporter", "export", "matching_ids"]
