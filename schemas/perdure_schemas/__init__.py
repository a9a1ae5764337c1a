"""The wire: records of every topic, how they are written, and the rules that every reader shares."""
