"""One client does its worst, another one places orders: what the first may cost the second."""
