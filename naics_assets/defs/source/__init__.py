"""The workbooks as the Census Bureau publishes them: bytes, with where they came from."""
