"""``python -m fraud_check``"""

from fraud_check.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
