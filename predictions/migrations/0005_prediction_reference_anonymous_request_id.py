from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('predictions', '0004_fill_upload_bytes'),
    ]

    operations = [
        # No row is rewritten, but the lock waits for running queries and holds up later ones: better to fail and try again.
        migrations.RunSQL("SET LOCAL lock_timeout = '10s'", migrations.RunSQL.noop),
        migrations.AddField(
            model_name='prediction',
            name='reference',
            field=models.CharField(max_length=100, null=True, verbose_name='reference'),
        ),
        migrations.AddField(
            model_name='prediction',
            name='anonymous',
            field=models.BooleanField(db_default=False, default=False, verbose_name='anonymous'),
        ),
        migrations.AddField(
            model_name='prediction',
            name='request_id',
            field=models.UUIDField(null=True, verbose_name='request id'),
        ),
    ]
