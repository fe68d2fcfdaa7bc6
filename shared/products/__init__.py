"""The HTTP interface of products, declared once for the catalogue and for the gateway before it."""
