"""Dates as short as in English, the month in small letters, and the thousands as the charts write them."""

DATE_FORMAT = SHORT_DATE_FORMAT = "j b Y"
TIME_FORMAT = "H:i"
DATETIME_FORMAT = "j b Y, H:i:s"
SHORT_DATETIME_FORMAT = "j b Y, H:i"
THOUSAND_SEPARATOR = "."
