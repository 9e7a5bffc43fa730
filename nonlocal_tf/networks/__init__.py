"""Which networks there are, and what builds them from tables."""
