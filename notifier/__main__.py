"""``python -m notifier``"""

from notifier.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
