from django.conf import settings
from django.db import migrations, models

from core.roles import ROLES


def make_groups(apps, schema_editor):
    """Make the groups; who could sign in before could operate, and still may."""
    group = apps.get_model("auth", "Group")
    for name in ROLES:
        group.objects.get_or_create(name=name)
    operator = group.objects.get(name="operator")
    for user in apps.get_model(settings.AUTH_USER_MODEL).objects.filter(is_superuser=False):
        user.groups.add(operator)


class Migration(migrations.Migration):

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('titanic_site', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='accesstoken',
            name='can_admin',
            field=models.BooleanField(default=False, verbose_name='Administer: users, tokens of others, sources in databases'),
        ),
        migrations.AddField(
            model_name='accesstoken',
            name='can_read',
            field=models.BooleanField(default=True, verbose_name='Read: datasets, models, predictions, runs, monitoring'),
        ),
        migrations.AlterField(
            model_name='accesstoken',
            name='can_operate',
            field=models.BooleanField(default=True, verbose_name='Operate: load, build, train, promote, check, schedule'),
        ),
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
