"""Model files: the model as a value, its file format, and files that are written completely or not at all."""
