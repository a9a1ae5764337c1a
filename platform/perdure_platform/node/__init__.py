"""The process that owns partitions."""
