"""The model file: the model as a value, its container, and files that are written whole or not at all."""
