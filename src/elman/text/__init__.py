"""Text as it comes: encodings, files and lines, words, the vocabulary, logs with masked numbers."""
