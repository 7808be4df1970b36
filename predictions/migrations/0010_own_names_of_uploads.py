"""Uploads are kept under names of ours; the table stays as it is."""

from django.db import migrations, models

from core.file_names import GeneratedName


class Migration(migrations.Migration):
    dependencies = [("predictions", "0009_fewer_indexes")]

    operations = [
        migrations.AlterField(
            "scoringjob",
            "upload",
            models.FileField(max_length=300, upload_to=GeneratedName("scoring"), verbose_name="file"),
        ),
    ]
