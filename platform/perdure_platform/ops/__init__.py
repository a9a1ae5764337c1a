"""Tools that look at a partition from outside."""
