"""m0031: the words of full-text search in several tables, which `words` makes as documents come."""

from __future__ import annotations

STATEMENTS = (
    # Words of documents from `first` on, up to the next one's, are in search_words_<first>; for 0 in search_words.
    # torn: words of documents that are gone are in it until it is merged.
    "CREATE TABLE search_parts (first INTEGER PRIMARY KEY, torn INTEGER NOT NULL) STRICT",
    "INSERT INTO search_parts SELECT 0, EXISTS (SELECT 1 FROM abandoned_nodes WHERE node = 0)",
    "DELETE FROM abandoned_nodes WHERE node = 0",  # which said so until now
    # What matches: SELECT document FROM search_found WHERE words MATCH ...
    "CREATE VIEW search_found AS SELECT rowid AS document, search_words AS words FROM search_words",
)
