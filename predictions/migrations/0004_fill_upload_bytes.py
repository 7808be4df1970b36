"""Uploads that are there already count with the size that their parts have, and are owned where they have an owner."""

from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('predictions', '0003_uploads'),
    ]

    operations = [
        migrations.RunSQL(
            'UPDATE predictions_scoringjob job SET is_owned = created_by_id IS NOT NULL, upload_bytes = coalesce('
            '  (SELECT max("end") FROM predictions_scoringpart WHERE job_id = job.id), 0) WHERE upload <> \'\'',
            migrations.RunSQL.noop,
        ),
    ]
