"""What developers run beside the product: the migration linter and the release."""

#: The oldest version that upgrades are tested from; migrations that are newer must let its processes work on.
OLDEST_UPGRADED = "bbdcdb03cded0b96d62f09f78e8dba16569bf5cc"
#: The first version that has `manage.py backup`: its archives are restored too.
OLDEST_ARCHIVED = "1c3273a17c977e3378a5a7f5e9f1680ce27bb688"
