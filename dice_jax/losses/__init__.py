"""Training losses: one equation per function, and the terms of the objective built from them."""
