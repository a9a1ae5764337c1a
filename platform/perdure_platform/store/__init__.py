"""A partition's rows: a disposable fold of its history."""
