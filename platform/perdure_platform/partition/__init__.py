"""One partition under one claim: the spine. Read owner.py first."""
