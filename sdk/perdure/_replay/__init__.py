"""Runs workflow code deterministically: records in, requested actions out."""
