"""What happens in the pipeline, as it happens: to orders and to its parts."""
