"""Feature networks: their layers, the user's weights files, and what public ones are called and weigh."""
