"""What tests need to run, watch and break a pipeline."""
