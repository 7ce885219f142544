"""The same cases on stock asyncio and on evenloop, written from the documentation."""
