"""One face for what every command that evaluates writes, and the page that shows it."""
