"""One schedule deletes what is kept long enough: that of the audit trail alone goes."""

from django.db import migrations


def delete_schedule(apps, schema_editor):
    """Delete the schedule whose task there is no more."""
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(task="titanic_site.tasks.delete_old_audit").delete()


class Migration(migrations.Migration):

    dependencies = [
        ('django_celery_beat', '0019_alter_periodictasks_options'),
        ('titanic_site', '0002_roles'),
    ]

    operations = [
        migrations.RunPython(delete_schedule, migrations.RunPython.noop),
    ]
