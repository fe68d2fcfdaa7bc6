"""What more than one service needs. Knows no service."""
