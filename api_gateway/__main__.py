"""``python -m api_gateway``"""

from api_gateway.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
