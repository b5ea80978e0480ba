"""Language models: from a text to a predictor that continues, scores and explains text."""
