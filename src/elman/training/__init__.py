"""The trainer: its loop, optimizer, checkpoints and journal, shared by all tasks."""
