"""Keeps products and their prices in SQL, and brings the prices to where orders read them."""
