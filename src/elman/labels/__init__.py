"""Labels for sequences: one label, one number, or one tag for each step."""
