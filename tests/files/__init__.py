"""Files: asynchronous ones, and readiness of regular files (row ALL-FILES)."""
