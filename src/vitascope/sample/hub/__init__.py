"""Checkpoints of others, in diffusers' layout, behind the same requests and files as our own models."""
