"""What events promise to consumers, held against what was promised with each release."""
