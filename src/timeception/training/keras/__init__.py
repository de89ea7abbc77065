"""Training of heads with Keras, on any of its backends."""
