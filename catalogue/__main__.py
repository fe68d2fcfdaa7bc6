"""``python -m catalogue``"""

from catalogue.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
