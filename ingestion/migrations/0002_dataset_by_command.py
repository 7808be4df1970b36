from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor


def limit_sources_to_their_folders(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Let a dataset of a source that is loaded again read what the source may: no longer any file."""
    apps.get_model("ingestion", "Dataset").objects.filter(source__isnull=False).update(by_command=False)


class Migration(migrations.Migration):
    dependencies = [("ingestion", "0001_initial")]

    operations = [
        migrations.RenameField("dataset", "by_operator", "by_command"),
        migrations.RunPython(limit_sources_to_their_folders, migrations.RunPython.noop, elidable=True),
    ]
