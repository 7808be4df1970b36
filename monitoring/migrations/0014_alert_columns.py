from django.db import migrations

import core.fields


class Migration(migrations.Migration):
    """Processes of earlier versions read and write both columns, until they are stopped."""

    dependencies = [
        ('monitoring', '0013_stored_messages'),
    ]

    operations = [
        migrations.AlterField(
            model_name='alert',
            name='message',
            field=core.fields.MessageField(db_column='text', verbose_name='text'),
        ),
        migrations.RunSQL(
            "ALTER TABLE monitoring_alert ADD COLUMN parameters jsonb NOT NULL DEFAULT '{}'",
            "ALTER TABLE monitoring_alert DROP COLUMN parameters",
        ),
    ]
