"""What is computed from features, from pairs of videos and from captions."""
