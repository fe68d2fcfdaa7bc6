"""One module per group of commands; each turns arguments into calls and answers into text."""
