"""The `perdure` command: parse, call, print. What it does is done elsewhere."""
