"""Uploads that are there already count with the size that was read of them."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('ingestion', '0004_uploads'),
    ]

    operations = [
        migrations.RunSQL(
            "UPDATE ingestion_dataset SET upload_bytes = coalesce(byte_count, 0) WHERE upload <> ''",
            migrations.RunSQL.noop,
        ),
    ]
