"""``python -m dashboard``"""

from dashboard.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
