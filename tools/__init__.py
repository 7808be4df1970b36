"""What developers run beside the product: the migration linter and the release."""

#: The oldest version that upgrades are tested from; what is newer is held to upgrades without a stop.
OLDEST_UPGRADED = "bbdcdb03cded0b96d62f09f78e8dba16569bf5cc"
