"""Follows the log of all steps into SQL, where every order stays for years."""
