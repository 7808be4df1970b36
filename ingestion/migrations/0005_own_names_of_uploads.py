"""Uploads are kept under names of ours; the table stays as it is."""

from django.db import migrations, models

from core.file_names import GeneratedName


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0004_schedule_of_each_source")]

    operations = [
        migrations.AlterField(
            "dataset",
            "upload",
            models.FileField(blank=True, max_length=300, upload_to=GeneratedName("uploads"), verbose_name="upload"),
        ),
    ]
