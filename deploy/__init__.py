"""Files for a deployment, and the programs that write some of them."""
