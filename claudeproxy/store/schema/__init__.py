"""The statements of each migration, one file each. Never edited after a release; `store.migrations` lists them."""
