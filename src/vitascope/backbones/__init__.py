"""Networks that turn a noisy video and its conditions into a prediction. One file is one network."""
