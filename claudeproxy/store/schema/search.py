"""m0010: full-text search. Everything here is derived from captures: it can be deleted and made again.

A document is a distinct text: an answer and the block that repeats it in the next request are one. Its words are in an
FTS5 table without content (the text is in the blocks); where it stands follows from the nodes of its blocks.
"""

from __future__ import annotations

STATEMENTS = (
    # The earliest request, by `n`, whose path goes through a node: no greater than that of any child. No foreign key:
    # when the request goes, the node may stay, and retention finds it another one. NULL: not looked at yet.
    "ALTER TABLE nodes ADD COLUMN introduced INTEGER",
    "CREATE INDEX nodes_introduced ON nodes (introduced) WHERE introduced IS NOT NULL",
    # Distinct texts. AUTOINCREMENT: an id that comes back would find words of another text until the index is merged.
    """
    CREATE TABLE search_documents (
      id INTEGER PRIMARY KEY AUTOINCREMENT,  -- rowid in search_words
      text_hash BLOB NOT NULL UNIQUE         -- first 16 bytes of SHA-256
    ) STRICT
    """,
    """
    CREATE TABLE search_blocks (
      block INTEGER PRIMARY KEY REFERENCES blocks(id) ON DELETE CASCADE,
      document INTEGER NOT NULL REFERENCES search_documents(id)
    ) STRICT
    """,
    "CREATE INDEX search_blocks_document ON search_blocks (document)",
    # Texts of a request's answer.
    """
    CREATE TABLE search_answers (
      request INTEGER NOT NULL REFERENCES requests(n) ON DELETE CASCADE,
      document INTEGER NOT NULL REFERENCES search_documents(id),
      PRIMARY KEY (request, document)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX search_answers_document ON search_answers (document)",
    # Requests whose texts are found, by which version of the reading.
    """
    CREATE TABLE searched (
      request INTEGER PRIMARY KEY REFERENCES requests(n) ON DELETE CASCADE,
      version INTEGER NOT NULL
    ) STRICT
    """,
    # No content and no sizes: answers are listed by time, never ranked. Positions are kept, for phrases: most of what
    # people look for (paths, names with a hyphen) is several words to the tokenizer.
    """
    CREATE VIRTUAL TABLE search_words USING fts5(
      text, content='', columnsize=0, detail=full, tokenize="unicode61 remove_diacritics 2"
    )
    """,
)
