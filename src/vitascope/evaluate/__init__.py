"""Measuring videos. Evaluation never imports a model: it is handed clips, or a function that makes them."""
