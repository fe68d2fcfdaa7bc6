"""``python -m accounts``"""

from accounts.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
