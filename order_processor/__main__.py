"""``python -m order_processor``"""

from order_processor.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
