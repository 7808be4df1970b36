"""The one schedule that fetched from every source becomes the default source's own."""

import json

from django.db import migrations


def give_schedules(apps, schema_editor):
    task = apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(task="titanic_site.tasks.fetch_sources")
    source = apps.get_model("ingestion", "Source").objects.filter(name="default").first()
    kept = task.first() if source else None
    if kept:
        kept.task, kept.kwargs = "titanic_site.tasks.fetch", json.dumps({"source_id": source.pk})
        kept.save()
        source.schedule = kept
        source.save()
    task.delete()


class Migration(migrations.Migration):
    dependencies = [
        ("ingestion", "0003_passengers_in_partitions"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(give_schedules, migrations.RunPython.noop)]
