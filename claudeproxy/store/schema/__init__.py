"""The statements of each migration, one file a migration. Never edited after a release; `store.migrations` lists them."""
