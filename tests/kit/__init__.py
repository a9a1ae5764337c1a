"""What the tests share: builders, process control, a broker, checkers."""
