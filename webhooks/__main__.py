"""``python -m webhooks``"""

from webhooks.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
