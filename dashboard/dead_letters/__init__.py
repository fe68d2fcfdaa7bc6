"""Dead letters: looked at, redriven and dropped."""
