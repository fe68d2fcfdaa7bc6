"""Whether deploy/kubernetes is what the code needs, as ``make kubernetes`` says without a cluster."""
