"""From requests to clips."""
