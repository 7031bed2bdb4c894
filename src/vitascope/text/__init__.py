"""Captions to features: a small encoder trained with the model, or a frozen pretrained one."""
