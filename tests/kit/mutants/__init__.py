"""Tempting misreadings of the protocol, as patches of the real code. Names are mostly those of the flags of its executable model."""
