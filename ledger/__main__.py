"""``python -m ledger``"""

from ledger.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
