"""Other systems' weights: their files, and their names for our variables."""
