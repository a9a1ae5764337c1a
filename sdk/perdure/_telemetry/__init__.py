"""OpenTelemetry, in one place. Without a tracer provider everything here does nothing, and costs next to nothing."""
