"""Training losses: one equation of the paper, one function."""
