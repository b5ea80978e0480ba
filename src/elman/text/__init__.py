"""Reading of text: files and encodings, words, vocabularies, and the masking of numbers in log lines."""
