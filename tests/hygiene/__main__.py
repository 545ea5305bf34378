"""`python -m tests.hygiene` writes the page that the corpus is published on."""

from __future__ import annotations

from tests.hygiene.page import PATH, page

PATH.write_text(page(), encoding="utf-8")
print(f"wrote {PATH.name}")
